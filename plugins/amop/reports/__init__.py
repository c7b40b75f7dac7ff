"""Workbooks, e-mails and summaries."""
