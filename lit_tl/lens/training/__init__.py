"""Training tuned lenses, on one machine or many. Nothing here knows LIT; `python -m lit_tl.lens
train` is a shell over it."""
