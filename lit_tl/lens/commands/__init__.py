"""The subcommands of `python -m lit_tl.lens`: each reads its flags into a dataclass and hands
over."""
