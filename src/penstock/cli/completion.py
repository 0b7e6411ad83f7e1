"""`penstock completion SHELL`: a script that completes commands and options, made from the parsers themselves."""

from __future__ import annotations

import argparse

from penstock.cli.exits import Exit
from penstock.cli.terminal import say

_BASH = """_penstock() {{
  local word=${{COMP_WORDS[COMP_CWORD]}}
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "{commands}" -- "$word")); return; fi
  case ${{COMP_WORDS[1]}} in
{cases}
  esac
}}
complete -o default -F _penstock penstock
"""
_FISH = "complete -c penstock -n '__fish_use_subcommand' -a {name} -d {text}"


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `completion`."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")
    parser.epilog = (
        'bash and zsh: eval "$(penstock completion bash)" in the start-up file. fish: penstock completion fish | source'
    )


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from penstock.cli.main import COMMANDS, parser_of  # noqa: PLC0415 - main imports this module by name

    completions = {name: _completions(parser_of(name)) for name in COMMANDS}
    if options.shell == "fish":
        for name, (_module, text) in COMMANDS.items():
            say(_FISH.format(name=name, text=_quoted(text)))
            for word in completions[name]:
                kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
                say(f"complete -c penstock -n '__fish_seen_subcommand_from {name}' {kind}")
        return Exit.DONE
    if options.shell == "zsh":
        say("autoload -U +X bashcompinit && bashcompinit")
    cases = "\n".join(
        f'    {name}) COMPREPLY=($(compgen -W "{" ".join(found)}" -- "$word"));;' for name, found in completions.items()
    )
    say(_BASH.format(commands=" ".join((*COMMANDS, "help", "version")), cases=cases))
    return Exit.DONE


def _completions(parser: argparse.ArgumentParser) -> list[str]:
    """Long options and fixed values of one command, those of its acts included."""
    found: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse offers no list of its own
        if action.help is argparse.SUPPRESS:
            continue
        found += [name for name in action.option_strings if name.startswith("--")]
        if not action.option_strings and action.choices:
            found += [str(choice) for choice in action.choices]
        if isinstance(action.choices, dict):
            found += [word for sub in action.choices.values() for word in _completions(sub)]
    return list(dict.fromkeys(found))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
