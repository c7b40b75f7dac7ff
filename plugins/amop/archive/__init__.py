"""The archive of the carrier's answers: write the answers of a run, and replay past days from them."""
