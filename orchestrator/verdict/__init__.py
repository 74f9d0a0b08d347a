"""From a finished search to an honest answer: edge hits, confirmation on fresh seeds, the sealed test.

    trials.jsonl ─ edges ─ confirmation (confirmation.jsonl) ─ sealed (test.jsonl)

`evidence` is the statistics that all of them share. No framework, but for `sealed`, which measures models.
"""
