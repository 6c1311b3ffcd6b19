"""The table of jobs. Each job is one page: its settings and the steps they stand for."""

from jobs.adapt_encoder import AdaptEncoder
from jobs.adapt_language import AdaptLanguage
from jobs.compare_adapters import CompareAdapters
from jobs.compare_vocabularies import CompareVocabularies
from jobs.finetune_retriever import FinetuneRetriever

JOBS = (FinetuneRetriever, AdaptLanguage, AdaptEncoder, CompareAdapters, CompareVocabularies)
