"""The core: tables, trees and metadata in, models and numbers out. It never imports QIIME 2."""
