"""Where pictures are: a folder, a zip, the web, the Hub, a bucket or a list of addresses."""
