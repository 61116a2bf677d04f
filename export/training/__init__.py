"""What trainings with torch have in common: device, order of pictures, checkpoints, log, loop."""
