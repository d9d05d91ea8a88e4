"""Pages to listen and compare with, and what listeners answered on them."""
