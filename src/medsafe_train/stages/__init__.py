"""What the pipeline does, a stage a file: `run(store, settings, *inputs) -> Artifact`. Stages never import stages."""
