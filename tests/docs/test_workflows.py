""".github/: what review, bundles of pull requests and releases run, and that nothing of a fork's meets a secret."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from bench.cli import main

yaml = pytest.importorskip("yaml", reason="the extra docs brings a YAML reader")

ROOT = Path(__file__).resolve().parents[2]
CI, RELEASE = "ci", "release"


def text_of(name):
    return (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")


def workflow(name):
    found = yaml.safe_load(text_of(name))
    return {("on" if key is True else key): value for key, value in found.items()}  # YAML 1.1 reads `on` as true


def scripts(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def step(job, name):
    return next(step for step in job["steps"] if step.get("name", "").startswith(name))


@pytest.mark.parametrize("name", [CI, RELEASE])
def test_token_may_read_and_nothing_else_unless_a_job_says_so(name):
    found = workflow(name)
    assert found["permissions"] == {"contents": "read"}
    own = {job: one["permissions"] for job, one in found["jobs"].items() if "permissions" in one}
    more = {job: given for job, given in own.items() if given != {"contents": "read"}}
    assert more == ({"publish": {"id-token": "write"}} if name == RELEASE else {})


@pytest.mark.parametrize("name", [CI, RELEASE])
def test_every_job_has_a_bound_and_keeps_no_credentials(name):
    for job in workflow(name)["jobs"].values():
        assert job["timeout-minutes"] <= 180
        for one in job["steps"]:
            if one.get("uses", "").startswith("actions/checkout"):
                assert one["with"]["persist-credentials"] is False


def test_code_of_a_fork_meets_no_secret():
    found = workflow(CI)
    assert set(found["on"]) == {"push", "pull_request"}
    assert "pull_request_target" not in text_of(CI).replace("# ", "")
    assert "secrets." not in text_of(CI)


@pytest.mark.parametrize("name", [CI, RELEASE])
def test_no_script_pastes_what_an_event_says(name):
    """Names of files, branches and titles are of whoever opened the pull request; a shell would run them."""
    found = [script for job in workflow(name)["jobs"].values() for script in scripts(job)]
    assert [script for script in found if "${{" in script] == []


def test_review_is_what_the_readme_says():
    assert scripts(workflow(CI)["jobs"]["tox"]) == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_verifier_is_that_of_the_base_branch():
    for name in ("bundles", "reproduce"):
        job = workflow(CI)["jobs"][name]
        assert job["if"] == "github.event_name == 'pull_request'"
        base = step(job, "The verifier")["with"]
        assert (base["ref"], base["path"]) == ("${{ github.event.pull_request.base.sha }}", "trusted")
        assert "./trusted" in step(job, "Install")["run"]


def test_first_look_runs_nothing_that_was_sent():
    jobs = workflow(CI)["jobs"]
    assert step(jobs["bundles"], "Verify")["run"] == "trusted/.ci/verify-bundles"
    assert step(jobs["reproduce"], "Verify")["run"] == "trusted/.ci/verify-bundles --reproduce 2 --trust-code"
    assert jobs["reproduce"]["needs"] == "bundles"


def shell(script, folder, **variables):
    environment = {**os.environ, "GITHUB_OUTPUT": str(folder / "output"), "GITHUB_RUN_ID": "7", **variables}
    return subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_changed_bundles_are_found_whatever_their_names(tmp_path):
    for place in ("trusted", "sent/.git", "sent/submissions"):
        (tmp_path / place).mkdir(parents=True)
    odd = "submissions/a b;echo $(id)\n.bundle"
    for name, text in {
        "trusted/old.bundle": "1",
        "sent/old.bundle": "1",
        "sent/.git/x.bundle": "1",
        f"sent/{odd}": "1",
        "sent/b.txt": "1",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "sent" / "link.bundle").symlink_to("/etc/passwd")
    (tmp_path / "trusted" / "changed.bundle").write_text("1")
    (tmp_path / "sent" / "changed.bundle").write_text("2")
    assert {step(workflow(CI)["jobs"][name], "Which")["run"] for name in ("bundles", "reproduce")} == {"trusted/.ci/changed-bundles"}
    done = shell(str(ROOT / ".ci" / "changed-bundles"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "bundles").read_bytes().split(b"\0")[:-1]) == [b"sent/changed.bundle", f"sent/{odd}".encode()]
    assert (tmp_path / "output").read_text() == "count=2\n"


@pytest.mark.parametrize(("codes", "ends"), [("0 0", 0), ("0 3", 0), ("1 0", 1), ("0 2", 1)], ids=["well", "open", "lie", "refused"])
def test_a_lie_fails_the_job_and_every_bundle_is_looked_at(tmp_path, codes, ends):
    for name in "ab":
        (tmp_path / f"{name}.bundle").write_text(name)
    (tmp_path / "bundles").write_bytes(b"a.bundle\0b.bundle\0")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "bench"
    fake.write_text('#!/bin/bash\necho "$@" >> asked\nset -- $CODES\nn=$(wc -l < asked)\nexit "${!n}"\n')
    fake.chmod(0o755)
    script = f"{ROOT / '.ci' / 'verify-bundles'} --reproduce 2"
    done = shell(script, tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", CODES=codes)
    assert done.returncode == ends, done.stderr
    assert (tmp_path / "asked").read_text() == "".join(f"verify verifications/{n}.bundle -q --by ci 7 --reproduce 2\n" for n in (1, 2))


def test_release_builds_checks_and_runs_before_it_publishes():
    found = workflow(RELEASE)
    assert found["on"] == {"push": {"tags": ["v*"]}}
    build, publish = found["jobs"]["build"], found["jobs"]["publish"]
    said = "\n".join(scripts(build))
    order = [said.index(words) for words in ("python -m build", "twine check --strict dist/*", "-m venv", 'bin/pip" install', "bench run")]
    assert order == sorted(order)
    assert (publish["needs"], publish["environment"]) == ("build", "pypi")
    assert [one["uses"].partition("@")[0] for one in publish["steps"]] == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
    assert "password" not in text_of(RELEASE)


@pytest.mark.parametrize(("tag", "code"), [("right", 0), ("v9.9.9", 1)])
def test_release_wants_the_tag_of_the_version(tag, code):
    import bench

    name = f"v{bench.__version__}" if tag == "right" else tag
    done = shell(step(workflow(RELEASE)["jobs"]["build"], "The tag")["run"], ROOT, GITHUB_REF_NAME=name)
    assert done.returncode == code, done.stdout + done.stderr


def test_every_command_of_a_workflow_is_one_of_ours():
    texts = [text_of(CI), text_of(RELEASE), (ROOT / ".ci" / "verify-bundles").read_text(encoding="utf-8")]
    named = {word for text in texts for word in re.findall(r"\bbench (\w+) ", text) if word not in ("on", "is")}
    assert named <= set(main.commands)
    assert {"verify", "run", "bundle"} <= named


def test_template_of_a_pull_request_leads_to_the_page():
    page = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / ".github" / target).resolve().is_file()
    assert "docs/extend/submit.md" in page
