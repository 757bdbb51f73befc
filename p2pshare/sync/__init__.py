"""Moving sealed bytes: wire, session and carriers, which cannot open what they move."""
