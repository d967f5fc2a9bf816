"""Recipes as drawings: in the terminal (`draw_text`) and as SVG (`to_svg`), with how far each node has come."""

from flows.recipe.drawing.model import Edge, GraphNode, RecipeGraph
from flows.recipe.drawing.svg import DrawingFailed, to_dot, to_svg
from flows.recipe.drawing.terminal import draw_text

__all__ = ["DrawingFailed", "Edge", "GraphNode", "RecipeGraph", "draw_text", "to_dot", "to_svg"]
