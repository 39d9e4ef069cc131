"""The training core: plain Python on tables, trees and models; knows nothing of QIIME 2."""
