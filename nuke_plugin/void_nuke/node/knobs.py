"""The names of knobs, inner nodes and layers: what the node files and the code that drives them agree on."""

from __future__ import annotations

# what the artist presses, reads and sets
GENERATE = "generate_quadmask"
REMOVE = "remove"
STOP = "stop"
RESUME = "resume"
STATUS = "status"
VIEW = "view"
PREVIEW_FRAME = "preview_frame"
PREVIEW_RANGE = "preview_range"
BEFORE_AFTER = "before_after"
#: Where the viewer's picture changes from plate to result: 0 is its left edge, 1 its right.
WIPE = "wipe"
PROMPT = "prompt"
FRAMES = "frames"
CUSTOM_RANGE = "custom_range"
ENGINE = "engine"
REASONER = "reasoner"
#: What artists call what is chosen there, beside the pulldown.
ENGINE_TITLE = "engine_title"
REASONER_TITLE = "reasoner_title"
TITLE_OF = {ENGINE: ENGINE_TITLE, REASONER: REASONER_TITLE}
ANALYSIS = "analysis"
RESULT = "result"
OUTSIDE = "outside"
#: Live: how the patch is laid over the plate. Not `feather`, which is the setting of a job.
PATCH_FEATHER = "patch_feather"
PATCH_MIX = "patch_mix"
ABOUT = "about_version"
RESTORE = "restore_settings"
CREATE_READS = "create_reads"
COPY_PATH = "copy_path"
REVEAL = "reveal_folder"

#: Eyedroppers: a click in the viewer is a point.
PICK_ON = "pick_on"
PICK_OFF = "pick_off"
CLICK = "click"
CLICK_ON = "click_on"
CLICK_OFF = "click_off"
CLICK_CLEAR = "click_clear"
SHOW_ROTO = "show_roto"
CLICKS = "clicks"

GRID = "cell_edits"
CELL = "cell"
GRID_AFFECTED = "grid_affected"
GRID_KEEP = "grid_keep"
GRID_CLEAR = "grid_clear"
SHOW_GRID = "show_grid"

SERVER = "server"
TRANSFER = "transfer"
#: Not `output`: Nuke shows the value of a knob of that name on the tile.
OUTPUT = "output_folder"
COLORSPACE = "colorspace"
USE_ROI = "use_roi"
ROI = "roi"
DATATYPE = "datatype"
REUSE = "reuse_export"

FARM_SUBMIT = "farm_submit"
FARM_COMMAND = "farm_command"

JOBS_PANEL = "jobs_panel"
DOCUMENTATION = "documentation"
CHECK = "check_environment"
DIAGNOSTICS = "copy_diagnostics"

# what the node keeps for itself
ID = "void_id"
KIND = "void_kind"
JOBS = "void_jobs"
FOLDER = "void_folder"
#: By version, the hash of what it was made from.
SOURCES = "void_sources"
STATE = "void_state"
#: Which knobs are settings of which engine or reasoner; see :mod:`.declared`.
DECLARED = "void_declared"
HAS_PLATE = "void_has_plate"
HAS_MATTES = "void_has_mattes"
HAS_PREVIEW = "void_has_preview"
#: An expression: 1 in the frames that the version has.
HAS_FRAME = "void_has_frame"
#: The knobs that decide what a render gets from the node.
PICTURE = (OUTSIDE, PATCH_FEATHER, PATCH_MIX, HAS_PLATE, HAS_MATTES, HAS_FRAME)

# which node it is, the value of KIND
REMOVE_NODE = "remove"
QUADMASK_NODE = "quadmask"

# the choices of pulldowns
FROM_INPUT, FROM_SCRIPT, CUSTOM = "input", "global", "custom"
BY_PATH, BY_UPLOAD = "path", "upload"
AUTOMATIC, HALF, FLOAT = "automatic", "half", "float"
NO_RESULT = "none"
VIEW_RESULT, VIEW_WIPE = "result", "wipe"
OUTSIDE_CHOICES = ("plate", "hold", "error")

# inner nodes; none may be called like a layer, as an expression means either by its name
PLATE_INPUT, ROTO_INPUT, QUADMASK_INPUT = "Plate", "Roto", "Quadmask"
ADD_INPUT, PROTECT_INPUT = "AddAffected", "Protect"
RESULT_PLATE, RESULT_PATCH, RESULT_MATTES = "ResultPlate", "ResultPatch", "ResultMattes"
#: The mattes once more, without a range: an error in every frame that the version does not have.
STRICT_MATTES = "StrictMattes"
GRID_NODE = "GridEdits"
PREVIEW_READ = "ReadPreview"

# views for artists alone; no render gets them
PREVIEW_VIEW = "preview"
ROTO_VIEW = "roto"

# layers
CLASSES = ("remove", "overlap", "affected", "keep")
QUADMASK_LAYER = tuple(f"quadmask.{name}" for name in CLASSES)
#: Where the new pixels come from: another frame, the surroundings, a model.
ORIGINS = ("recovered", "filled", "generated")
ORIGIN_LAYER = tuple(f"origin.{name}" for name in ORIGINS)
#: The blend's channel: `void_blend.A` in the file; Nuke reads A as alpha.
BLEND = "void_blend.alpha"
#: The new pixels as they are laid over the plate: multiplied by their blend, which is the alpha.
PATCH_LAYER = ("void_patch.red", "void_patch.green", "void_patch.blue", "void_patch.alpha")
#: What the nodes need in between; it never leaves them.
SCRATCH_LAYER = ("void_scratch.red", "void_scratch.green", "void_scratch.blue")

# the states of a node, and the colour of its tile in each: 0xRRGGBB00, as Nuke packs it; 0 is Nuke's own colour
IDLE, WAITING, RUNNING, DONE, FAILED, STOPPED = "", "waiting", "running", "done", "failed", "stopped"
#: The version that is shown was made from another plate, or another roto.
STALE = "plate changed"
TILES = {
    IDLE: 0x3D5A7300,
    WAITING: 0x8A7A2E00,
    RUNNING: 0xB3751A00,
    DONE: 0x3F7A4A00,
    STALE: 0xC8901000,
    FAILED: 0x9C2B2B00,
    STOPPED: 0x5A5A5A00,
}
