"""From a finished search to an honest answer: edge hits, confirmation on fresh seeds, the sealed test.

    trials.jsonl ─ ranking ─ confirmation (confirmation.jsonl) ─ sealed_results (test.jsonl)

`statistics` is what all of them share; `results` gathers it all. No framework.
"""
