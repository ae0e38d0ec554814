"""Wrong commands: each is one clear line on stderr, exit code 2, nothing on stdout, and nothing done."""

import contextlib
import io
import shlex

import pytest

from estbench.cli.main import app
from estbench.cli.parsing import run

LONG = "a" * 300
# what a comparison would measure if nothing were wrong with it; never measured here
SMALL = "--tasks toy[units=3] --estimators rloo --measures training[steps=2] --executor inline"

COMMANDS = """
|
--foo|no such option
compre|did you mean
COMPARE|no such command
''|no such command
list --foo|no such option
list thing|unknown kind 'thing'
list a b c|unexpected extra
list ''|KIND is empty
list estimators -e|requires an argument
list -e missing.py|no such plugin file
list -e file|must be Python source
list -e folder|no such plugin file
list -e LONG|file name too long
info|missing argument
info ''|NAME is empty
info rlo|did you mean 'rloo'
info LONG|unknown plugin
info rloo arm|unexpected extra
info 'rloo[samples=2]'|unknown plugin
cache|name what to do
cache foo|no such command
cache list --store|requires an argument
cache list --store ''|--store is empty
cache list --store LONG|file name too long
cache list --store a --store b|given 2 times
cache verify --store LONG|file name too long
cache prune --days nan|--days
cache prune --days inf|--days
cache prune --days -1|got '-1'
cache prune --days x|got 'x'
cache prune --days 1e300|--days
cache prune --days ''|--days is empty
cache prune --days 1 --days 2|given 2 times
cache prune --failed=x|
data|name what to do
data fetch|missing argument
data fetch mnits|did you mean 'mnist'
data fetch ''|NAMES is empty
data fetch LONG|unknown data set
data list x|unexpected extra
check|name the estimators
check rlo|did you mean 'rloo'
check ''|NAMES is empty
check rloo --seed x|--seed
check rloo --seed -1|--seed
check rloo --seed 9223372036854775808|--seed
check rloo --seed 1 --seed 2|given 2 times
check 'rloo[samples=many]'|expected a whole number; got 'many'
check 'rloo[samples=2'|missing
check 'rloo[sample=2]'|did you mean 'samples'
check -e missing.py|no such plugin file
check -e file|must be Python source
published --format xml|'xml'
published --format ''|--format is empty
published --paper LONG|nothing is published
published --paper nobody1900|nothing is published
published --task nothing|
published --foo|no such option
env --foo|no such option
env x|unexpected extra
new|missing argument
new estimator|missing argument
new thing x|estimator, a task or a measure; got 'thing'
new estimator ''|NAME is empty
new estimator 1x|lower-case words
new estimator rloo|choose another name
new estimator class|lower-case words
new estimator LONG|file name too long
new estimator 'a b'|lower-case words
new estimator a b|unexpected extra
merge|missing
merge folder|missing option
merge nowhere --into x|there is no store
merge folder --into file|
merge folder --into ''|--into is empty
merge folder --into LONG|file name too long
merge LONG --into x|
merge '' --into x|STORES is empty
export|missing argument
export nowhere|holds no results
export folder|holds no results
export file|holds no results
export ''|SOURCE is empty
export folder --format ''|--format is empty
export folder --format ,|at least one format
export folder --format xlsx|unknown format 'xlsx'
export folder --format csv --format json|given 2 times
export folder --to file|not a directory
export folder --to ''|--to is empty
export LONG|file name too long
diff|missing argument
diff folder|missing argument
diff nowhere elsewhere|
diff folder folder --alpha nan|--alpha
diff folder folder --alpha 2|--alpha
diff folder folder --alpha -0.1|--alpha
diff folder folder --alpha x|--alpha
diff LONG LONG|
diff '' ''|is empty
gate|missing argument
gate a|missing argument
gate nowhere elsewhere|
gate folder folder --alpha nan|--alpha
gate folder folder --alpha -1|--alpha
gate folder folder --alpha inf|--alpha
gate folder folder --threshold x|threshold
gate folder folder --threshold nan|threshold
gate folder folder --threshold 0.5|threshold
gate folder folder --threshold ''|--threshold is empty
gate folder folder --repeat -1|--repeat
gate folder folder --repeat x|--repeat
gate folder folder --repeat 1000000|--repeat
track|takes the folder of a run, or --init
track folder --init|takes the folder of a run, or --init
track nowhere|
track folder|
track ''|RUN is empty
track LONG|
report|missing argument
report nowhere|holds no results
report folder|holds no results
report file|
report ''|RUN is empty
report LONG|file name too long
report folder --target loss_valid=nan|finite number
report folder --target loss_valid=inf|finite number
report folder --target loss_valid|finite number
report folder --target =3|finite number
report folder --target x=|finite number
report folder --target ''|--target is empty
report folder --out file|not a directory
report folder --out file/x|not a directory
report folder --out loop/x|symbolic links
report folder --out LONG|file name too long
plot|missing argument
plot nothing|
plot nothing folder|
plot gumbel_softmax --width nan|--width
plot gumbel_softmax --width 1e9|--width
plot gumbel_softmax --width 0|--width
plot gumbel_softmax --width -3|--width
plot gumbel_softmax --width x|--width
plot gumbel_softmax --style wild|
plot gumbel_softmax --format ''|--format is empty
plot gumbel_softmax --format ,|at least one format
plot gumbel_softmax --format gif|gif
plot gumbel_softmax --out file|not a directory
plot gumbel_softmax --out ''|--out is empty
plot training nowhere|nowhere
plot training folder --out LONG|file name too long
plan nothing|unknown suite 'nothing'
plan LONG|unknown suite
plan ''|SUITE is empty
plan missing.toml|no such file
plan broken.toml|not valid TOML
plan deep.toml|not valid TOML
plan bytes.toml|not valid TOML
plan odd.toml|unknown key
plan types.toml|tasks
plan empty.toml --tasks ''|--tasks is empty
plan empty.toml --tasks ,|at least one is needed
plan folder.toml|
compare SMALL --seeds x|--seeds takes a number
compare SMALL --seeds ,|--seeds takes a number
compare SMALL --seeds ''|--seeds is empty
compare SMALL --seeds 0|at least one seed
compare SMALL --seeds -1|at least one seed
compare SMALL --seeds=-1,|at least one seed
compare SMALL --seeds 1.5|--seeds takes a number
compare SMALL --seeds nan|--seeds takes a number
compare SMALL --seeds 9223372036854775808,|9223372036854775807
compare SMALL --seeds 300000000|at most 100,000
compare SMALL --seeds 1,1|each seed once
compare SMALL --seeds 1 --seeds 2|given 2 times
compare SMALL --timeout nan|--timeout
compare SMALL --timeout inf|--timeout
compare SMALL --timeout 0|--timeout
compare SMALL --timeout -1|--timeout
compare SMALL --timeout x|--timeout
compare SMALL --timeout 1e300|--timeout
compare SMALL --checkpoint nan|--checkpoint
compare SMALL --checkpoint -1|--checkpoint
compare SMALL --checkpoint inf|--checkpoint
compare SMALL --scale nan|--scale
compare SMALL --scale inf|--scale
compare SMALL --scale 0|scale
compare SMALL --scale 2|scale
compare SMALL --scale -1|scale
compare SMALL --precision nan|--precision
compare SMALL --precision 1|precision
compare SMALL --precision -1|precision
compare SMALL --threads 0|--threads
compare SMALL --threads -1|--threads
compare SMALL --threads 1.5|--threads
compare SMALL --threads 1000000|--threads
compare SMALL --workers 0|--workers
compare SMALL --workers 1000000000|--workers
compare SMALL --device gpu|device
compare SMALL --device cuda:-1|device
compare SMALL --device cuda:99999999999999999999|CUDA
compare SMALL --device ''|--device is empty
compare SMALL --dtype float16|dtype
compare SMALL --dtype tf32 --device cpu|tf32
compare SMALL --parts x|--parts takes a number
compare SMALL --parts 1|parts
compare SMALL --parts ''|--parts is empty
compare SMALL --parts ,|--parts takes a number
compare SMALL --suite nothing|unknown suite
compare SMALL --suite deep.toml|not valid TOML
compare SMALL --suite ''|--suite is empty
compare SMALL --out file|not a directory
compare SMALL --out file/x|not a directory
compare SMALL --out dangling|no such file
compare SMALL --out loop/x|symbolic links
compare SMALL --out LONG|file name too long
compare SMALL --out ''|--out is empty
compare SMALL --store file|not a directory
compare SMALL --store LONG|file name too long
compare SMALL --store ''|--store is empty
compare SMALL --ensemble x|--ensemble takes
compare SMALL --ensemble -3|--ensemble takes
compare SMALL --ensemble nan|--ensemble takes
compare SMALL -e missing.py|no such plugin file
compare SMALL -e undeclared.py --tasks toy --estimators undeclared|does not declare 'unbiased'
compare SMALL extra|unknown suite 'extra'
compare --estimators rlo|did you mean 'rloo'
compare --estimators 'rloo['|missing
compare --estimators 'rloo]'|expected name or name
compare --estimators 'rloo[samples]'|expected key=value
compare --estimators 'rloo[samples=]'|expected a whole number
compare --estimators 'rloo[samples=1]'|at least 2; got 1
compare --estimators 'rloo[samples=-2]'|at least 2; got -2
compare --estimators 'rloo[samples=2.0]'|expected a whole number; got '2.0'
compare --estimators 'rloo[samples=nan]'|expected a whole number; got 'nan'
compare --estimators "rloo[samples='2']"|expected a whole number; got the text '2'
compare --estimators 'rloo[samples=(2)]'|expected a whole number
compare --estimators 'rloo[samples=2,samples=3]'|is given twice
compare --estimators 'rloo[samples=99999999999999999999]'|expected a whole number
compare --estimators 'rloo[x=1]'|no option 'x'
compare --estimators 'gumbel_softmax[temperature=nan]'|expected a finite number; got 'nan'
compare --estimators 'gumbel_softmax[temperature=inf]'|expected a finite number
compare --estimators 'gumbel_softmax[temperature=0]'|above 0
compare --estimators 'gumbel_softmax[temperature=true]'|expected a finite number
compare --tasks 'toy[unit=3]'|did you mean 'units'
compare --tasks 'toy[units=x]'|expected a whole number
compare --tasks toi|did you mean 'toy'
compare --tasks 'toy[latents=gaussian]'|expected bernoulli or categorical
compare --measures speeed|did you mean 'speed'
compare --measures 'training[steps=x]'|expected a whole number
compare SMALL --executor local|given 2 times
compare --tasks toy --estimators rloo --measures training --executor ''|--executor is empty
compare --tasks toy --estimators rloo --measures training --executor nothing|unknown executor
compare --tasks toy --estimators rloo --measures training --executor 'local[workers=nan]'|expected a whole number
compare --tasks toy --estimators rloo --measures training --executor 'local,inline'|expected name
"""
ROWS = [tuple(line.rsplit("|", 1)) for line in COMMANDS.strip("\n").splitlines()]

UNDECLARED = '''"""Declares nothing."""

from estbench import ScoreFunction


class Undeclared(ScoreFunction):
    """REINFORCE."""

    def baseline(self, name, node, cost):
        return 0 * cost
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with files, folders and links that are not what commands take them for."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    (folder / "folder.toml").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "undeclared.py").write_text(UNDECLARED)
    (folder / "empty.toml").write_text("")
    (folder / "broken.toml").write_text("tasks = [")
    (folder / "deep.toml").write_text("tasks = " + "[" * 2000 + "]" * 2000)
    (folder / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (folder / "odd.toml").write_text("task = ['toy']")
    (folder / "types.toml").write_text("tasks = 3")
    return folder


def outcome(arguments):
    """Exit code, stdout and stderr of a command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(app, arguments)
    return code, out.getvalue(), err.getvalue()


def assert_one_line(arguments, code, out, err):
    """Exit code 2, a line of bounded length that can be printed on stderr, nothing on stdout."""
    assert code == 2, (arguments, err)
    assert out == "", arguments
    assert err.startswith("estbench: "), (arguments, err)
    assert err.count("\n") == 1, (arguments, err)
    assert err[:-1].isprintable(), (arguments, err)
    assert len(err) < 1300, arguments


@pytest.mark.parametrize(("command", "message"), ROWS, ids=[command[:60] for command, _ in ROWS])
def test_a_wrong_command_is_one_line(command, message, place, monkeypatch):
    """The line says what was wrong; the folder is as it was."""
    monkeypatch.chdir(place)
    before = sorted(path.name for path in place.rglob("*") if "__pycache__" not in path.parts)
    arguments = shlex.split(command.replace("SMALL", SMALL).replace("LONG", LONG))
    code, out, err = outcome(arguments)
    assert_one_line(arguments, code, out, err)
    assert message.lower() in err.lower()
    assert sorted(path.name for path in place.rglob("*") if "__pycache__" not in path.parts) == before


def test_there_are_enough():
    """At least 150 wrong commands are tried, each once."""
    assert len(ROWS) >= 150
    assert len(set(ROWS)) == len(ROWS)
