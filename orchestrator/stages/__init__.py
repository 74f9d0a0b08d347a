"""The stages of a study, one after another: launch, the best models, the sealed test, the report kept fresh."""
