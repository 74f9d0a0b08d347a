"""Studies in a bucket, s3://, gs:// or abfs://: where their folders lie is one more address, and nothing else changes.

    study's folder ─ the working copy on this machine ─ bucket_sync ─ bucket

Everything works on a folder of this machine, the working copy. What is written to the record is in the bucket before
it is in the copy; other files follow. So the bucket is the truth, and any machine can go on from it.
"""
