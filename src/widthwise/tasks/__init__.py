"""Tasks: what good means, as a LightningModule each. Import the module you need."""
