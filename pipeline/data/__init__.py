"""From a source to prepared arrays: sources, splits, preprocessing and the LightningDataModule."""
