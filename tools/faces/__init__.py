"""Parts of train_faces.py and evaluate_faces.py: networks, codes, data, files."""
