"""The demo: a gallery of OpenMoji drawings asked in many languages, and the evaluation on those drawings."""

__all__: list[str] = []
