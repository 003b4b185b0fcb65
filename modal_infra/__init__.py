"""What is deployed to Modal: the image, the volumes, the app. Importing any of it does no work and asks nobody."""
