"""Run a filled-in recipe: its nodes at work, joined by bounded channels. Knows nothing of Prefect."""

from flows.recipe.engine.run import RecipeRun

__all__ = ["RecipeRun"]
