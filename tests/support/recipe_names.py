"""What recipes may be called."""

GOOD_NAMES = (
    "per.image.v2",
    "per-image",
    "Per-Image",  # a twin but for its case
    "__x",
    "__path__",
    "recipe_files",  # means something else in the catalogue
    "Path",
    "two words",
    "a:b.py",
    "größe σ 日本",
    'it\'s "so"',
    "{dcid} [1] @ $x ; y, z = (é) ~ ^ | ` * ! +",
    "v2.",
    "x" * 240,
)
BAD_NAMES = {
    "50%": "it has %",
    "a&b": "it has &",
    "a<b>": "it has < >",
    "a?": "it has ?",
    "a#b": "it has #",
    "a\\b": "it has \\",
    "merged-recipe": "a flow of Plaza's own",
    "": "empty",
    ".hidden": "starts with a dot",
    "..": "starts with a dot",
    "-dash": "starts with a dash",
    "--help": "starts with a dash",
    " a": "a blank",
    "a ": "a blank",
    "a\nb": "can't be printed",
    "a\x1b[2Jb": "can't be printed",
    "a\udcffb": "isn't UTF-8",
}
NAMES_OF_NO_FILE = {"a\0b": "can't be printed", "é" * 126: "it has 252 bytes"}
"""Bad ones that no file system takes."""
