# The page shows its title as it is.
case $(TITLE='<b>&' sh render.sh) in
  *'<title>&lt;b&gt;&amp;</title>'*) ;;
  *) echo 'The title is not escaped' >&2; exit 1 ;;
esac
