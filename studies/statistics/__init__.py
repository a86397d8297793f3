"""Statistics of a small blinded comparison: exact tests first, the paper's asymptotic ones beside them.

The unit of inference is the clip (or the subject, where one gave several clips), never a reading: readers
of one clip agree with each other, and pooling readers × clips as blocks raised the type I error to 27 %
with three readers. What each test assumes, and what it does with ties and gaps, is in docs/statistics.md;
the equations stand at the head of the modules.

    tables         ranks as the tests take them: summed over readers, joined by subject
    permutation    the null distribution of rank sums, exact or sampled
    omnibus        Friedman, Kendall's W, Skillings-Mack
    pairs          Nemenyi, exact single step, sign tests, closed testing, Holm
    effects        net preferences, Hodges-Lehmann shifts, bootstrap over clusters, Shapiro-Wilk
    endpoints      one endpoint in one group of clips
    agreement      kappa, AC2, alpha, W between readers and within one
    camps          each reader's own preferences; blinding indices
    long_table     any table of ranks or values from a CSV file
    strata         the analysis of such a table, and its JSON and CSV
"""

from __future__ import annotations

from studies.statistics.agreement import (
    AgreementResult,
    ReadersAgreement,
    agreement_weights,
    gwet_ac2,
    krippendorff_alpha,
    preferences,
    reader_agreement,
    readers_agreement,
    weighted_kappa,
)
from studies.statistics.camps import (
    BangIndex,
    BlindingResult,
    ReaderCamp,
    bang_index,
    blinding_index,
    james_index,
    reader_camps,
)
from studies.statistics.effects import (
    BOOTSTRAP_DRAWS,
    BOOTSTRAP_SEED,
    MINIMUM_BOOTSTRAP_CLIPS,
    PairEffect,
    ShapiroResult,
    ShiftResult,
    hodges_lehmann,
    mean_interval,
    rank_effects,
    shapiro_of_differences,
    share_interval,
    value_effects,
)
from studies.statistics.endpoints import EndpointResult, analyse_ranks, analyse_values, position_effect
from studies.statistics.omnibus import (
    NO_PREFERENCE,
    FriedmanResult,
    SkillingsMackResult,
    friedman,
    kendall_w,
    skillings_mack,
)
from studies.statistics.pairs import (
    PairResult,
    compare_pairs,
    holm,
    nemenyi_critical_difference,
    nemenyi_limit_note,
    nemenyi_p,
    sign_test_p,
    unanimous_neighbour_p,
)
from studies.statistics.permutation import (
    MAXIMUM_CELLS,
    MONTE_CARLO_DRAWS,
    RankSumDistribution,
    rank_sum_distribution,
    sampled_distribution,
)
from studies.statistics.tables import POOLING_REFUSED, clip_scores, join_blocks, mid_rank_table

__all__ = [
    "BOOTSTRAP_DRAWS",
    "BOOTSTRAP_SEED",
    "MAXIMUM_CELLS",
    "MINIMUM_BOOTSTRAP_CLIPS",
    "MONTE_CARLO_DRAWS",
    "NO_PREFERENCE",
    "POOLING_REFUSED",
    "AgreementResult",
    "BangIndex",
    "BlindingResult",
    "EndpointResult",
    "FriedmanResult",
    "PairEffect",
    "PairResult",
    "RankSumDistribution",
    "ReaderCamp",
    "ReadersAgreement",
    "ShapiroResult",
    "ShiftResult",
    "SkillingsMackResult",
    "agreement_weights",
    "analyse_ranks",
    "analyse_values",
    "bang_index",
    "blinding_index",
    "clip_scores",
    "compare_pairs",
    "friedman",
    "gwet_ac2",
    "hodges_lehmann",
    "holm",
    "james_index",
    "join_blocks",
    "kendall_w",
    "krippendorff_alpha",
    "mean_interval",
    "mid_rank_table",
    "nemenyi_critical_difference",
    "nemenyi_limit_note",
    "nemenyi_p",
    "position_effect",
    "preferences",
    "rank_effects",
    "rank_sum_distribution",
    "reader_agreement",
    "reader_camps",
    "readers_agreement",
    "sampled_distribution",
    "shapiro_of_differences",
    "share_interval",
    "sign_test_p",
    "skillings_mack",
    "unanimous_neighbour_p",
    "value_effects",
    "weighted_kappa",
]
