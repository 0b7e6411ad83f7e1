# Prints the page. What is to be its title stands in TITLE, and is text, whatever characters it has.
title=$(printf '%s' "$TITLE" | sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g')
printf '<!doctype html>\n<html lang="en">\n<head><title>%s</title></head>\n<body><h1>%s</h1></body>\n</html>\n' "$title" "$title"
