"""Files of this program on a disk: names, whole writes, locks, scratch, JSON and YAML as text. Knows no study."""
