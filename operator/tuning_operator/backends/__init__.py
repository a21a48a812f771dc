"""Where trials run; each backend drives one engine per job."""
