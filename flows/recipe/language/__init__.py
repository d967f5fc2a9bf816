"""A recipe file as a value: read, validated, filled, merged. Pure."""

from flows.recipe.language.document import InvalidRecipe
from flows.recipe.language.merging import merge
from flows.recipe.language.recipe import Recipe, parse_recipe, recipe_from_document
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.language.validation import read_recipe, validate

__all__ = [
    "InvalidRecipe",
    "Recipe",
    "fill_recipe",
    "merge",
    "parse_recipe",
    "read_recipe",
    "recipe_from_document",
    "validate",
]
