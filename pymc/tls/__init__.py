"""Certificates and keys: read and checked by short-lived children, kept where all workers see them.

`material` is the shared memory, `files` what is read into it, `check` what is asked of it (the only
module that loads pyOpenSSL, in a child that ends at once), `checker` that child, `facts` what is
known of certificates that passed, `dev` makes certificates to try things out with.
"""
