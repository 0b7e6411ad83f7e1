"""`penstock validate`: what it says of pipelines, buildspecs and AppSpec files, where, and in which form."""

from __future__ import annotations

import argparse
import copy
import json

import pytest
import yaml

from penstock.cli import validate
from penstock.cli.declared_files import check_file
from penstock.cli.exits import Exit

PIPELINE = {
    "name": "shop",
    "roleArn": "arn:aws:iam::111111111111:role/pipeline",
    "artifactStore": {"type": "S3", "location": "artifacts"},
    "stages": [
        {
            "name": "Source",
            "actions": [
                {
                    "name": "pull",
                    "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "CodeCommit", "version": "1"},
                    "configuration": {"RepositoryName": "shop", "BranchName": "main"},
                    "outputArtifacts": [{"name": "App"}],
                }
            ],
        },
        {
            "name": "Build",
            "actions": [
                {
                    "name": "make",
                    "actionTypeId": {"category": "Build", "owner": "AWS", "provider": "CodeBuild", "version": "1"},
                    "configuration": {"ProjectName": "shop"},
                    "inputArtifacts": [{"name": "App"}],
                    "runOrder": 1,
                }
            ],
        },
    ],
}


def changed(change):
    declaration = copy.deepcopy(PIPELINE)
    change(declaration)
    return declaration


@pytest.fixture
def check(tmp_path):
    def check(content, name="pipeline.yaml", **more):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return check_file(path, region="us-east-1", **more)

    return check


def test_a_pipeline_is_read_from_json_and_yaml_alone_or_as_get_pipeline_answers_it(check):
    for content in (
        json.dumps(PIPELINE, indent="\t"),
        yaml.safe_dump(PIPELINE),
        json.dumps({"pipeline": PIPELINE, "metadata": {"created": 1.5, "pipelineArn": "a"}}),
        yaml.safe_dump({"pipeline": PIPELINE}),
    ):
        checked = check(content)
        assert (checked.findings, checked.pipeline, checked.tags) == ([], PIPELINE, None)
        assert checked.sound
    tagged = check(yaml.safe_dump({"pipeline": PIPELINE, "tags": [{"key": "team", "value": "shop"}]}))
    assert tagged.tags == [{"key": "team", "value": "shop"}]


def test_plain_values_of_yaml_are_the_strings_that_they_look_like(check):
    text = yaml.safe_dump(PIPELINE).replace("version: '1'", "version: 1")
    text = text.replace("BranchName: main", "BranchName: 1.10\n      PollForSourceChanges: false")
    checked = check(text)
    assert checked.findings == []
    assert checked.pipeline["stages"][0]["actions"][0]["configuration"] == {
        "RepositoryName": "shop",
        "BranchName": "1.10",
        "PollForSourceChanges": "false",
    }
    (finding,) = check(json.dumps(PIPELINE).replace('"main"', "false")).findings
    assert (finding.rule, finding.message) == (
        "wrong-type",
        "pipeline.stages[0].actions[0].configuration.BranchName must be a string.",
    )


def test_characters_of_json_beyond_the_first_plane_are_read(check):
    declaration = changed(lambda one: one.update(variables=[{"name": "A", "defaultValue": "a \U0001f680/"}]))
    for escaped in (True, False):
        text = json.dumps(declaration, ensure_ascii=escaped).replace("/", "\\/")
        assert check(text, "p.json").pipeline == declaration


def test_every_finding_has_its_place_and_what_to_do(check):
    text = """name: shop
roleArn: arn:aws:iam::111111111111:role/pipeline
artifactStore: {type: S3, location: artifacts}
stages:
  - name: Source
    actions:
      - name: pull
        actionTypeId: {category: Source, owner: AWS, provider: CodeComit, version: 1}
        configuration: {RepositoryName: shop, BranchName: main}
        outputArtifacts: [{name: App}]
  - name: Build it
    actions:
      - name: make
        actionTypeId: {category: Build, owner: AWS, provider: CodeBuild, version: 1}
        configuration:
          ProjectNam: shop
        inputArtifacts: [{name: Nope}]
        runorder: 3
      - name: ours
        actionTypeId: {category: Build, owner: Custom, provider: Jenkins, version: 1}
variables: []
variables: [{name: A}, {name: A}]
"""
    found = [(one.line, one.column, one.level, one.rule, one.fix) for one in check(text).findings]
    bad = "InvalidActionDeclarationException"
    named = "Name an output of an action in an earlier stage, or with a smaller runOrder."
    kinds = "Did you mean 'CodeCommit'? Providers of category Source: CodeCommit, CodeStarSourceConnection, ECR, GitHub, S3."
    assert found == [
        (8, 9, "error", bad, kinds),
        (11, 5, "error", "ValidationException", ""),
        (15, 9, "error", bad, "Add the key below 'configuration' of the action."),
        (16, 11, "error", bad, "Did you mean 'ProjectName'?"),
        (17, 9, "error", bad, named),
        (18, 9, "error", "unknown-member", "Did you mean 'runOrder'?"),
        (20, 9, "warning", bad, "Only the server knows whether the account has this action type."),
        (22, 1, "error", "duplicate-key", ""),
    ]


def test_what_is_not_run_is_said_before_it_fails(check):
    def deploy(declaration):
        kind = {"category": "Deploy", "owner": "AWS", "provider": "ECS", "version": "1"}
        declaration["stages"][1]["actions"][0].update(
            actionTypeId=kind, configuration={"ClusterName": "c", "ServiceName": "s"}
        )

    checked = check(json.dumps(changed(deploy)))
    (finding,) = checked.findings
    assert (finding.rule, finding.level) == ("not-run", "warning")
    assert finding.message == (
        "The action 'make' fails when it should run: Penstock does not deploy to ECS yet. Deploy to hosts with a CodeDeploy action."
    )
    assert checked.sound


def test_a_wrong_type_is_named_and_nothing_after_it_is_guessed(check):
    for change, message in (
        (lambda one: one.update(stages={"a": 1}), "pipeline.stages must be a list."),
        (lambda one: one.update(stages=["a"]), "pipeline.stages[0] must be a mapping of keys to values."),
        (lambda one: one.update(name=["a"]), "pipeline.name must be a single value."),
        (lambda one: one["stages"][0]["actions"][0].update(runOrder="one"), "runOrder must be a whole number."),
        (lambda one: one["stages"][0]["actions"][0].update(runOrder=1.5), "runOrder must be a whole number."),
    ):
        checked = check(json.dumps(changed(change)))
        assert checked.findings[0].rule == "wrong-type"
        assert checked.findings[0].message.endswith(message)
        assert not checked.sound


def test_hostile_files_are_refused_in_bounded_time(check):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for above, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{above}'] * 9)}]\n"
    pipeline = yaml.safe_dump(PIPELINE)
    for content, message in (
        (b"x" * (1 << 20), "The file is larger than 512 KiB."),
        (b"stages:\n\xff", "The file is not UTF-8 text."),
        (bomb + pipeline, "unfold into too much"),
        ("stages: " + "[" * 60 + "]" * 60, "nested deeper than 40 levels at line 1"),
        ("stages: " + "[" * 5_000, "maximum nesting depth at line 1"),
        ("stages: [" + "1," * 30_000 + "]", "more than 20000 nodes"),
        ("stages: [a", "did not find expected"),
        ("stages:\n\t- name: a", "The line is indented by a tab"),
        ("name: \x00", "which YAML does not allow"),
        ("", "It cannot be said what the file is"),
        ("[1, 2]", "It cannot be said what the file is"),
        ("a: 1", "It cannot be said what the file is"),
    ):
        checked = check(content, "x.yaml")
        (finding,) = checked.findings
        assert message in finding.message, finding
        assert not checked.sound
    names = "".join(f"\n{'n' * 60}{i}: 1" for i in range(5_000))
    checked = check(pipeline + names)
    assert len(checked.findings) == 200
    text = json.dumps(changed(lambda one: one.update({"\x1b[8m" + "k" * 500: "1"})))
    (finding,) = check(text).findings
    assert len(finding.message) < 200


def test_buildspecs_and_appspec_files_are_recognised_and_read_by_what_uses_them(check):
    good = "version: 0.2\nphases:\n  build:\n    commands: [make]\n"
    assert (check(good, "x.yml").kind, check(good, "x.yml").findings) == ("buildspec", [])
    (finding,) = check(good.replace("build:", "biuld:"), "x.yml").findings
    assert (finding.line, finding.level) == (3, "error")
    assert "Did you mean build?" in finding.message
    (finding,) = check(good + "cach: {}\n", "x.yml").findings
    assert (finding.line, finding.level) == (5, "warning")
    spec = "version: 0.0\nos: linux\nhooks:\n  ApplicationStart:\n    - location: start.sh\n"
    assert (check(spec, "x.yml").kind, check(spec, "x.yml").findings) == ("appspec", [])
    (finding,) = check(spec + "  ApplicationStrat:\n    - location: a\n", "x.yml").findings
    assert (finding.line, finding.level) == (6, "warning")
    (finding,) = check(spec.replace("linux", "plan9"), "x.yml").findings
    assert "unsupported operating system (plan9)" in finding.message
    assert check("version: 0.2\n", "my-buildspec.yml").kind == "buildspec"
    assert check("version: 0.2\n", "x.yml", kind="buildspec").kind == "buildspec"


def test_the_command_prints_text_json_and_sarif(tmp_path, capsys):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump(PIPELINE))
    bad.write_text(yaml.safe_dump(changed(lambda one: one["stages"].pop())))

    def run(*arguments):
        parser = argparse.ArgumentParser()
        validate.add_arguments(parser, "validate")
        code = validate.run(parser.parse_args([*map(str, arguments), "--region", "us-east-1"]))
        return code, capsys.readouterr()

    code, printed = run(good)
    assert (code, printed.out) == (Exit.DONE, f"{good}: the pipeline is in order\n")
    code, printed = run(good, bad)
    assert code == Exit.FAILED
    assert printed.out.splitlines()[1] == (
        f"{bad}:6:1: error: Pipeline has only 1 stage(s). There should be a minimum of 2 stages in a pipeline. "
        "Add a stage with an action after the source stage. [InvalidStructureException]"
    )
    code, printed = run(good, bad, "--format", "json")
    files = json.loads(printed.out)
    assert code == Exit.FAILED
    assert [(one["kind"], len(one["findings"])) for one in files] == [("pipeline", 0), ("pipeline", 1)]
    assert files[1]["findings"][0]["line"] == 6
    code, printed = run(bad, "--format", "sarif")
    log = json.loads(printed.out)
    assert (code, log["version"]) == (Exit.FAILED, "2.1.0")
    (result,) = log["runs"][0]["results"]
    assert result["ruleId"] == log["runs"][0]["tool"]["driver"]["rules"][0]["id"] == "InvalidStructureException"
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 6, "startColumn": 1}
    code, printed = run(tmp_path / "none.yaml")
    assert (code, printed.err) == (Exit.USAGE, f"penstock validate: {tmp_path}/none.yaml: No such file or directory\n")
