"""Whether this QIIME 2 has collections of artifacts: releases from 2023.5 on have."""

import qiime2.plugin

COLLECTION = getattr(qiime2.plugin, "Collection", None)
"""The type of collections; None in older releases."""

HAVE_COLLECTIONS = COLLECTION is not None
