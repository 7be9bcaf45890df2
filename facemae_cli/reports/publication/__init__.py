"""What is published beside a dataset: a card for people, and Croissant for machines. Both name nobody."""
