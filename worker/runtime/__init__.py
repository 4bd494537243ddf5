"""The doing: the pipeline and what drives it, deciding nothing that core could decide."""
