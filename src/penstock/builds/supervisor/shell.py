"""How commands run: one shell for each, with working directory and variables carried from one to the next.

The supervisor starts each shell inside the build's sandbox and waits for it itself: how a command ended is what the kernel says, and
nothing that a process of the build could write somewhere. The scripts lie in a folder that the build can only read; what is carried
(`env.sh`, `dir.txt`) in one that it owns (AWS: "Shells and commands in build environments", and the state files that its build agent
leaves in /codebuild/output/tmp).
"""

from __future__ import annotations

import os

# A script with Windows line ends names an interpreter that does not exist, which shells call "not found".
_EXPLAINING = """\
case $CODEBUILD_LAST_EXIT in 126|127)
  IFS=' ' read -r CODEBUILD_STEP CODEBUILD_LINE <{scripts}/"$1"
  CODEBUILD_LINE=
  if [ -f "$CODEBUILD_STEP" ]; then IFS= read -r CODEBUILD_LINE <"$CODEBUILD_STEP"; fi
  case $CODEBUILD_LINE in '#!'*"$(printf '\\r')")
    printf '%s\\n' "$CODEBUILD_STEP has Windows line ends, so its interpreter is not found. Convert it: sed -i 's/\\r\\$//' $CODEBUILD_STEP" >&2 ;;
  esac ;;
esac
"""

CARRYING = (
    """\
IFS= read -r CODEBUILD_STEP <{state}/dir.txt && cd "$CODEBUILD_STEP" || cd {source}
set -a
. {state}/env.sh
CODEBUILD_BUILD_SUCCEEDING=$2
unset CODEBUILD_STEP
. {scripts}/"$1"
CODEBUILD_LAST_EXIT=$?
export -p >|{state}/env.sh
pwd >|{state}/dir.txt
"""
    + _EXPLAINING
    + "exit $CODEBUILD_LAST_EXIT\n"
)

# Version 0.1 starts each command anew: nothing is carried.
FORGETTING = (
    """\
cd {source}
set -a
. {state}/env.sh
CODEBUILD_BUILD_SUCCEEDING=$2
. {scripts}/"$1"
CODEBUILD_LAST_EXIT=$?
"""
    + _EXPLAINING
    + "exit $CODEBUILD_LAST_EXIT\n"
)


def script_arguments(*, scripts: str, name: str, shell: str, user: str, succeeding: bool) -> list[str]:
    """The arguments that run a script of the folder `scripts`, as the build sees it."""
    argv = [shell, os.path.join(scripts, "run.sh"), name, str(int(succeeding))]
    return ["runuser", "-u", user, "--", *argv] if user else argv


def quoted(value: str) -> str:
    """A value as one word of a POSIX shell."""
    return "'" + value.replace("'", "'\\''") + "'"


def is_variable(name: str) -> bool:
    """Whether a shell can hold a variable of that name."""
    return bool(name) and not name[0].isdigit() and all(c.isascii() and (c.isalnum() or c == "_") for c in name)


def write_scripts(*, scripts: str, state: str, inside: dict[str, str], carries: bool, env: dict[str, str]) -> None:
    """Lay the wrapper and the first state down.

    `scripts` and `state` are the folders as the supervisor sees them; `inside` has the same two and `source` as the build sees them.
    """
    names = {name: quoted(path) for name, path in inside.items()}
    write(os.path.join(scripts, "run.sh"), (CARRYING if carries else FORGETTING).format(**names))
    lines = [f"export {name}={quoted(value)}\n" for name, value in env.items() if is_variable(name)]
    write(os.path.join(state, "env.sh"), "".join(lines))
    write(os.path.join(state, "dir.txt"), inside["source"] + "\n")
    # Commands of a run-as user carry their state on as well.
    for path, mode in ((state, 0o777), (os.path.join(state, "env.sh"), 0o666), (os.path.join(state, "dir.txt"), 0o666)):
        os.chmod(path, mode)


def write(path: str, text: str) -> None:
    """Write a script."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def question(variables: list[str], names: list[str]) -> str:
    """A script that prints, NUL-separated: for each variable `set` or ``, its value; then each word as the shell expands it."""
    parts = [f'printf \'%s\\0%s\\0\' "${{{name}+set}}" "${{{name}-}}" >&5\n' for name in variables if is_variable(name)]
    return "".join(parts + [_expanded(word) for word in names])


def _expanded(word: str) -> str:
    """Prints a word as the shell expands it: quotes outside of its commands are characters, a word that it cannot read is empty.

    A document, not double quotes: within those, a command of the word could not use quotes of its own.
    """
    line = word.replace("\n", " ")
    read = f"IFS= read -r word <<PENSTOCK_WORD\n{line}\nPENSTOCK_WORD\nprintf '%s\\0' \"$word\" >&5\n"
    return f"(eval {quoted(read)}) || printf '\\0' >&5\n"
