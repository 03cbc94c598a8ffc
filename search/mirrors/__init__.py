"""A sweep's rows in other people's tools: TensorBoard, MLflow, Weights & Biases, optuna-dashboard."""
