"""VOID for Nuke as a rez package, with all that it needs inside: ``rez build --install`` in this folder."""

name = "void_nuke"

version = "0.1.0"

description = "Remove objects from shots together with everything they did to the scene"

requires = ["python-3.10+<3.14"]

tools = ["void"]

uuid = "void-for-nuke"

# {root} is this folder; the checkout is two above
build_command = """
target="$REZ_BUILD_INSTALL_PATH"
python -m pip install --quiet --constraint "{root}/../../constraints.txt" --target "$target/python" "{root}/../.."
if [ "$REZ_BUILD_INSTALL" = 1 ]; then
  cd / && PYTHONPATH="$target/python" python -m void_server.cli install-nuke --nuke-home "$target/nuke"
fi
"""


def commands():  # noqa: D103 -- as rez reads it
    env.PATH.append("{root}/python/bin")  # noqa: F821
    env.PYTHONPATH.append("{root}/python")  # noqa: F821
    env.NUKE_PATH.append("{root}/nuke/void")  # noqa: F821
