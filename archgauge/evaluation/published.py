"""Numbers printed in papers, to stand beside ours. Each is found by paper, table, row and column, as printed there."""

from dataclasses import dataclass

from archgauge.errors import ConfigError


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        value: the number.
        spread: the number after its ±, or None: a standard deviation over five runs, not a standard error (the
            second paper says so, the first prints it without a word).
        text: value and spread with the digits of the paper.
        source: paper and table, for a line under our table.
    """

    value: float
    spread: float | None
    text: str
    source: str


_PAPERS = {
    "gennape": "GENNAPE",
    "transferable": "A General-Purpose Transferable Predictor for Neural Architecture Search",
}

# GENNAPE's NB-201 is the 4,096 cells without `none`, its encoder and
# heads are trained on 40,000 labelled NB-101 networks; the first row of a family is zero-shot over all cells, "w/ FT"
# is fine-tuned on 50 cells and evaluated on the others, 5 seeds. MAE in percent points.
_TABLES = {
    # Spearman; 50 (NAS-Bench-101) or 40 (NAS-Bench-201) labels of the target for the last two rows.
    ("transferable", "1"): """
                      | NAS-Bench-101 | NAS-Bench-201 | NAS-Bench-301
        Synflow       | 0.361         | 0.823         | -0.210
        Jacov         | 0.358         | 0.859         | -0.190
        Fisher        | -0.277        | 0.687         | -0.305
        GradNorm      | -0.256        | 0.714         | -0.339
        Grasp         | 0.245         | 0.637         | -0.055
        Snip          | -0.165        | 0.718         | -0.336
        GNN-fine-tune | 0.542 ± 0.14  | 0.884 ± 0.03  | 0.872 ± 0.01
        CL-fine-tune  | 0.553 ± 0.09  | 0.917 ± 0.01  | 0.892 ± 0.01
    """,
    # Search on NAS-Bench-101, all 423,624 modules: queries (those of the fine-tuning among them), best accuracy in %,
    # its rank.
    ("transferable", "2, NAS-Bench-101"): """
                     | #Q  | Acc. (%)     | Rank
        Random       | 700 | 94.11 ± 0.10 | 26.0
        Synflow      | 700 | 94.18 ± 0.05 | 5.8
        CL-fine-tune | 700 | 94.23 ± 0.01 | 2.2
    """,
    # Search on NAS-Bench-201, all cells: queries (those of the fine-tuning among them), best accuracy in %, its rank.
    ("transferable", "2, NAS-Bench-201"): """
                     | #Q | Acc. (%)    | Rank
        Random       | 90 | 93.91 ± 0.2 | 104
        Synflow      | 90 | 94.37 ± 0.0 | 1.0
        CL-fine-tune | 90 | 94.37 ± 0.0 | 1.0
    """,
    # Search on NAS-Bench-301's surrogate.
    ("transferable", "2, NAS-Bench-301"): """
                     | #Q  | Acc. (%)
        Random       | 800 | 94.75 ± 0.08
        Synflow      | 800 | 94.60 ± 0.11
        CL-fine-tune | 800 | 94.83 ± 0.06
    """,
    # Methods that search NAS-Bench-101; the paper has two rows of SemiNAS (RE), which the queries tell apart here.
    ("transferable", "3"): """
                             | #Queries | Best Acc. (%)
        Random Search        | 2000     | 93.66
        SemiNAS              | 2000     | 94.02
        SemiNAS (RE)         | 2000     | 94.03
        SemiNAS (RE), 1000   | 1000     | 93.97
        BANANAS              | 800      | 94.23
        GA-NAS               | 378      | 94.23
        Neural-Predictor-NAS | 256      | 94.17
        NPENAS               | 150      | 94.14
        BRP-NAS              | 140      | 94.22
        EA + CL-fine-tune    | 700      | 94.23
    """,
    # ImageNet; the last one is found in OFA-MBv3's space, with the supernet's weights.
    ("transferable", "4"): """
                          | Top-1 Acc. (%)
        MobileNetV2       | 72.0
        MobileNetV2 #1200 | 73.5
        MobileNetV3-Large | 75.2
        NASNet-A          | 74.0
        DARTS             | 73.1
        SinglePathNAS     | 74.7
        OFA-Large         | 79.0
        OFA-Base          | 78.9
        OFA-MBv3-CL       | 79.2
    """,
    # Nodes of a computation graph that each operation of a cell becomes.
    ("transferable", "5"): """
                                         | #Nodes
        NAS-Bench-101, 1 × 1 Conv        | 3
        NAS-Bench-101, 3 × 3 Conv        | 3
        NAS-Bench-101, 3 × 3 Max Pool    | 1
        NAS-Bench-201, Zeroize           | 0
        NAS-Bench-201, Skip-Connect      | 0
        NAS-Bench-201, 1 × 1 Conv        | 3
        NAS-Bench-201, 3 × 3 Conv        | 3
        NAS-Bench-201, 3 × 3 Ave. Pool   | 1
        NAS-Bench-301, Skip-Connect      | 0
        NAS-Bench-301, 3 × 3 Sep. Conv   | 8
        NAS-Bench-301, 5 × 5 Sep. Conv   | 8
        NAS-Bench-301, 3 × 3 Dil. Conv   | 4
        NAS-Bench-301, 5 × 5 Dil. Conv   | 4
        NAS-Bench-301, 3 × 3 Ave. Pool   | 1
        NAS-Bench-301, 3 × 3 Max Pool    | 1
    """,
    # Architectures of each family and the mean, standard deviation and range of their accuracies in %.
    ("gennape", "2"): """
                  | #CGs | Mean  | Std  | Least | Greatest
        NB-101    | 50000 | 89.67 | 5.73 | 10    | 94.09
        NB-201    | 4100  | 89.44 | 6.13 | 46.25 | 93.37
        NB-301    | 10000 | 93.03 | 0.74 | 88.28 | 94.67
        PN        | 8200  | 75.41 | 0.09 | 71.15 | 77.81
        OFA-MBv3  | 7500  | 76.94 | 0.08 | 73.56 | 78.83
        OFA-RN    | 10000 | 78.19 | 0.07 | 75.25 | 79.94
        HiAML     | 4600  | 92.36 | 0.37 | 91.11 | 93.44
        Inception | 580   | 91.99 | 0.75 | 89.08 | 94.03
        Two-Path  | 6900  | 89.94 | 0.83 | 85.53 | 92.34
    """,
    # Spearman of zero-cost proxies.
    ("gennape", "1"): """
                  | Synflow | Jacov  | Fisher | Snip   | FLOPs
        NB-201    | 0.823   | 0.859  | 0.687  | 0.718  | 0.001
        NB-301    | -0.210  | -0.190 | -0.305 | -0.336 | 0.578
        PN        | 0.086   | -0.022 | 0.677  | 0.731  | 0.689
        OFA-MBv3  | 0.648   | 0.035  | 0.602  | 0.649  | 0.614
        OFA-RN    | 0.724   | -0.094 | 0.651  | 0.752  | 0.785
        HiAML     | 0.154   | -0.010 | -0.102 | -0.168 | 0.277
        Inception | 0.085   | 0.177  | -0.152 | -0.061 | 0.412
        Two-Path  | 0.227   | -0.071 | 0.042  | -0.027 | 0.333
    """,
    # Test part of 50,000 NB-101 networks, trained on 80 % of them.
    ("gennape", "3"): """
                 | MAE         | SRCC
        NPN      | 1.09 ± 0.01 | 0.934 ± 0.003
        BANANAS  | 1.40 ± 0.06 | 0.834 ± 0.002
        TNASP    | 1.23 ± 0.02 | 0.918 ± 0.002
        GCN      | 1.78 ± 0.06 | 0.732 ± 0.034
        GIN      | 1.72 ± 0.04 | 0.735 ± 0.035
        k-GNN    | 1.61 ± 0.08 | 0.814 ± 0.020
        CL       | 1.51 ± 0.17 | 0.874 ± 0.009
        CL+FCM   | 1.19 ± 0.12 | 0.896 ± 0.003
        CL+T     | 0.65 ± 0.08 | 0.921 ± 0.003
        CL+FCM+T | 0.59 ± 0.01 | 0.930 ± 0.002
    """,
    # MAE; NB-201 fine-tuned on 50 cells.
    ("gennape", "4"): """
               | k-GNN | CL | CL+T | CL+FCM+T
        NB-101    | 1.61 | 1.51 | 0.65 | 0.59
        NB-201    | 1.80 | 2.81 | 1.93 | 2.05
        NB-301    | 0.46 | 0.85 | 0.43 | 0.57
        PN        | 0.56 | 0.40 | 0.35 | 0.33
        OFA-MBv3  | 0.61 | 0.35 | 0.31 | 0.27
        OFA-RN    | 0.40 | 0.44 | 0.45 | 0.37
        HiAML     | 0.35 | 0.45 | 0.40 | 0.39
        Inception | 0.60 | 0.82 | 0.71 | 0.86
        Two-Path  | 0.80 | 1.11 | 0.71 | 0.72
    """,
    # Spearman.
    ("gennape", "5"): """
              | k-GNN | GENNAPE
        NB-201            | 0.4930 | 0.8146
        NB-201 w/ FT      | 0.8606 ± 0.0245 | 0.9103 ± 0.0114
        NB-301            | 0.0642 | 0.3214
        NB-301 w/ FT      | 0.8584 ± 0.0290 | 0.8825 ± 0.0134
        PN                | 0.0703 | 0.8213
        PN w/ FT          | 0.7559 ± 0.0621 | 0.9506 ± 0.0039
        OFA-MBv3          | 0.4345 | 0.8660
        OFA-MBv3 w/ FT    | 0.6862 ± 0.0253 | 0.9449 ± 0.0015
        OFA-RN            | 0.5721 | 0.5115
        OFA-RN w/ FT      | 0.9102 ± 0.0146 | 0.9114 ± 0.0063
        HiAML             | -0.1211 | 0.4331
        HiAML w/ FT       | 0.4300 ± 0.0507 | 0.4169 ± 0.0479
        Inception         | -0.2045 | 0.4249
        Inception w/ FT   | 0.3340 ± 0.0793 | 0.5524 ± 0.0166
        Two-Path          | 0.1970 | 0.3413
        Two-Path w/ FT    | 0.3694 ± 0.0406 | 0.4875 ± 0.0311
    """,
    # Architectures before and after the search on computation graphs. The FLOPs are in G; they count two for each
    # multiply-add: the best cell of NAS-Bench-201 has 153 million multiply-adds.
    ("gennape", "7"): """
                      | FLOPs | Top-1 Acc.(%)
        NB-101-Best   | 11.72 | 94.97
        NB-101-Search | 9.49  | 95.05
        NB-201-Best   | 0.313 | 93.27
        NB-201-Search | 0.283 | 93.62
        OFA-RN-Input  | 12.13 | 80.62
        OFA-RN-Search | 9.46  | 81.08
    """,
    # NDCG@10.
    ("gennape", "6"): """
              | k-GNN | GENNAPE
        NB-201            | 0.9270 | 0.9793
        NB-201 w/ FT      | 0.9751 ± 0.0082 | 0.9855 ± 0.0030
        NB-301            | 0.5341 | 0.7885
        NB-301 w/ FT      | 0.9723 ± 0.0134 | 0.9765 ± 0.0081
        PN                | 0.4426 | 0.8736
        PN w/ FT          | 0.9287 ± 0.0271 | 0.9800 ± 0.0057
        OFA-MBv3          | 0.8464 | 0.9234
        OFA-MBv3 w/ FT    | 0.8859 ± 0.0536 | 0.9838 ± 0.0030
        OFA-RN            | 0.9470 | 0.6606
        OFA-RN w/ FT      | 0.9717 ± 0.0090 | 0.9463 ± 0.0236
        HiAML             | 0.5088 | 0.6892
        HiAML w/ FT       | 0.7356 ± 0.0371 | 0.7804 ± 0.0211
        Inception         | 0.6064 | 0.8150
        Inception w/ FT   | 0.7310 ± 0.0423 | 0.8073 ± 0.0072
        Two-Path          | 0.6339 | 0.8275
        Two-Path w/ FT    | 0.7860 ± 0.0268 | 0.8392 ± 0.0220
    """,
    # Spearman.
    ("gennape", "8"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201            | 0.4930 | 0.8520 | 0.7834 | 0.7647 | 0.8151 | 0.8503 | 0.8146
        NB-201 w/ FT      | 0.8606 ± 0.0245 | 0.7892 ± 0.0715 | 0.8309 ± 0.0410 | 0.8281 ± 0.0181 \
            | 0.8897 ± 0.0153 | 0.8896 ± 0.0179 | 0.9103 ± 0.0114
        NB-301            | 0.0642 | -0.5250 | -0.1689 | 0.1349 | -0.0702 | -0.2462 | 0.3214
        NB-301 w/ FT      | 0.8584 ± 0.0290 | 0.6354 ± 0.0929 | 0.7665 ± 0.0318 | 0.7227 ± 0.0275 \
            | 0.8301 ± 0.0335 | 0.8445 ± 0.0093 | 0.8825 ± 0.0134
        PN                | 0.0703 | 0.0138 | 0.8782 | 0.8068 | 0.4424 | 0.3489 | 0.8213
        PN w/ FT          | 0.7559 ± 0.0621 | 0.9209 ± 0.0009 | 0.9281 ± 0.0028 | 0.9322 ± 0.0078 \
            | 0.9429 ± 0.0010 | 0.9447 ± 0.0064 | 0.9506 ± 0.0039
        OFA-MBv3          | 0.4345 | 0.5205 | 0.7122 | 0.8713 | 0.5350 | 0.5515 | 0.8660
        OFA-MBv3 w/ FT    | 0.6862 ± 0.0253 | 0.9182 ± 0.0070 | 0.9302 ± 0.0021 | 0.9264 ± 0.0050 \
            | 0.9356 ± 0.0062 | 0.9369 ± 0.0080 | 0.9449 ± 0.0015
        OFA-RN            | 0.5721 | -0.6963 | -0.6035 | -0.7766 | -0.3541 | -0.5278 | 0.5115
        OFA-RN w/ FT      | 0.9102 ± 0.0146 | 0.8588 ± 0.0133 | 0.8187 ± 0.0367 | 0.8350 ± 0.0283 \
            | 0.8785 ± 0.0207 | 0.8737 ± 0.0132 | 0.9114 ± 0.0063
        HiAML             | -0.1211 | 0.4373 | 0.4043 | 0.4511 | 0.3958 | 0.4167 | 0.4331
        HiAML w/ FT       | 0.4300 ± 0.0507 | 0.2259 ± 0.1753 | 0.2706 ± 0.0805 | 0.2779 ± 0.0545 \
            | 0.3062 ± 0.1187 | 0.3266 ± 0.0701 | 0.4169 ± 0.0479
        Inception         | -0.2045 | 0.1843 | 0.3439 | 0.4429 | 0.3038 | 0.3487 | 0.4249
        Inception w/ FT   | 0.3340 ± 0.0793 | 0.4771 ± 0.0639 | 0.5144 ± 0.0448 | 0.4569 ± 0.0547 \
            | 0.3554 ± 0.0759 | 0.3654 ± 0.0825 | 0.5524 ± 0.0166
        Two-Path          | 0.1970 | 0.0106 | 0.3205 | 0.3130 | 0.1843 | 0.2866 | 0.3413
        Two-Path w/ FT    | 0.3694 ± 0.0406 | 0.3046 ± 0.0977 | 0.4412 ± 0.0591 | 0.4331 ± 0.0584 \
            | 0.3251 ± 0.1179 | 0.3432 ± 0.0924 | 0.4875 ± 0.0311
    """,
    # Kendall's tau.
    ("gennape", "9"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201            | 0.3382 | 0.6554 | 0.5855 | 0.5719 | 0.6253 | 0.6572 | 0.6202
        NB-201 w/ FT      | 0.6772 ± 0.0100 | 0.6004 ± 0.0739 | 0.6430 ± 0.0445 | 0.6376 ± 0.0205 \
            | 0.7137 ± 0.0209 | 0.7121 ± 0.0244 | 0.7415 ± 0.0180
        NB-301            | 0.0431 | -0.3670 | -0.1122 | 0.0921 | -0.0484 | -0.1673 | 0.2183
        NB-301 w/ FT      | 0.7125 ± 0.0143 | 0.4644 ± 0.0753 | 0.5767 ± 0.0315 | 0.5340 ± 0.0257 \
            | 0.6474 ± 0.0346 | 0.6614 ± 0.0100 | 0.7075 ± 0.0171
        PN                | 0.0473 | 0.0095 | 0.6999 | 0.6174 | 0.3057 | 0.2375 | 0.6299
        PN w/ FT          | 0.5927 ± 0.0421 | 0.7593 ± 0.0137 | 0.7711 ± 0.0034 | 0.7796 ± 0.0115 \
            | 0.7978 ± 0.0176 | 0.8006 ± 0.0122 | 0.8135 ± 0.0074
        OFA-MBv3          | 0.2995 | 0.3637 | 0.5221 | 0.6892 | 0.3737 | 0.3900 | 0.6832
        OFA-MBv3 w/ FT    | 0.5016 ± 0.0128 | 0.7564 ± 0.0114 | 0.7754 ± 0.0036 | 0.7689 ± 0.0082 \
            | 0.7843 ± 0.0112 | 0.7868 ± 0.0146 | 0.8024 ± 0.0027
        OFA-RN            | 0.4095 | -0.5054 | -0.4320 | -0.5858 | -0.2565 | -0.3549 | 0.3559
        OFA-RN w/ FT      | 0.7437 ± 0.0139 | 0.6760 ± 0.0155 | 0.6302 ± 0.0374 | 0.6466 ± 0.0327 \
            | 0.6997 ± 0.0247 | 0.6897 ± 0.0139 | 0.7457 ± 0.0092
        HiAML             | -0.0813 | 0.3030 | 0.2809 | 0.3166 | 0.2726 | 0.2880 | 0.3040
        HiAML w/ FT       | 0.2875 ± 0.0581 | 0.1629 ± 0.1195 | 0.1940 ± 0.0539 | 0.1988 ± 0.0360 \
            | 0.2104 ± 0.0828 | 0.2240 ± 0.0488 | 0.2913 ± 0.0352
        Inception         | -0.1383 | 0.1244 | 0.2356 | 0.3059 | 0.2047 | 0.2400 | 0.2935
        Inception w/ FT   | 0.2082 ± 0.0352 | 0.3335 ± 0.0453 | 0.3627 ± 0.0337 | 0.3212 ± 0.0404 \
            | 0.2424 ± 0.0544 | 0.2516 ± 0.0572 | 0.3911 ± 0.0137
        Two-Path          | 0.1397 | 0.0753 | 0.2314 | 0.2257 | 0.1306 | 0.2047 | 0.2323
        Two-Path w/ FT    | 0.2232 ± 0.0432 | 0.2115 ± 0.0670 | 0.3094 ± 0.0430 | 0.3033 ± 0.0420 \
            | 0.2222 ± 0.0824 | 0.2342 ± 0.6370 | 0.3389 ± 0.0230
    """,
    ("gennape", "10, NDCG@50"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201            | 0.9495 | 0.9848 | 0.9859 | 0.9847 | 0.9793 | 0.9872 | 0.9836
        NB-201 w/ FT      | 0.9819 ± 0.0056 | 0.9434 ± 0.0214 | 0.9822 ± 0.0063 | 0.9848 ± 0.0040 \
            | 0.9916 ± 0.0022 | 0.9907 ± 0.0052 | 0.9885 ± 0.0025
        NB-301            | 0.7331 | 0.4175 | 0.6311 | 0.7930 | 0.7235 | 0.5218 | 0.8184
        NB-301 w/ FT      | 0.9725 ± 0.0043 | 0.8912 ± 0.0480 | 0.9085 ± 0.0430 | 0.9179 ± 0.0357 \
            | 0.9302 ± 0.0690 | 0.9664 ± 0.0102 | 0.9764 ± 0.0045
        PN                | 0.6296 | 0.5264 | 0.9637 | 0.9343 | 0.8935 | 0.6982 | 0.9099
        PN w/ FT          | 0.9225 ± 0.0063 | 0.9619 ± 0.0031 | 0.9771 ± 0.0061 | 0.9755 ± 0.0097 \
            | 0.9757 ± 0.0082 | 0.9769 ± 0.0046 | 0.9836 ± 0.0037
        OFA-MBv3          | 0.8607 | 0.8893 | 0.9268 | 0.9397 | 0.8422 | 0.9182 | 0.9433
        OFA-MBv3 w/ FT    | 0.8854 ± 0.0203 | 0.9653 ± 0.0028 | 0.9691 ± 0.0018 | 0.9660 ± 0.0053 \
            | 0.9644 ± 0.0186 | 0.9691 ± 0.0110 | 0.9778 ± 0.0018
        OFA-RN            | 0.8789 | 0.3144 | 0.2167 | 0.3494 | 0.3583 | 0.4344 | 0.7007
        OFA-RN w/ FT      | 0.9746 ± 0.0073 | 0.9491 ± 0.0210 | 0.9245 ± 0.0252 | 0.9077 ± 0.0295 \
            | 0.9520 ± 0.0096 | 0.9222 ± 0.0422 | 0.9531 ± 0.0169
        HiAML             | 0.5097 | 0.7534 | 0.7681 | 0.7657 | 0.7567 | 0.7470 | 0.7173
        HiAML w/ FT       | 0.7505 ± 0.0380 | 0.6847 ± 0.0893 | 0.6903 ± 0.0550 | 0.7172 ± 0.0411 \
            | 0.7562 ± 0.0369 | 0.7570 ± 0.0284 | 0.7938 ± 0.0144
        Inception         | 0.6196 | 0.7943 | 0.8607 | 0.8270 | 0.8240 | 0.8386 | 0.8391
        Inception w/ FT   | 0.7929 ± 0.0265 | 0.8515 ± 0.0287 | 0.8230 ± 0.0206 | 0.8201 ± 0.0133 \
            | 0.7843 ± 0.0194 | 0.8019 ± 0.0340 | 0.8452 ± 0.0089
        Two-Path          | 0.6930 | 0.6722 | 0.7886 | 0.7654 | 0.7272 | 0.7392 | 0.8115
        Two-Path w/ FT    | 0.7860 ± 0.0268 | 0.7839 ± 0.0436 | 0.8334 ± 0.0304 | 0.8326 ± 0.0281 \
            | 0.7921 ± 0.0514 | 0.7888 ± 0.0435 | 0.8454 ± 0.0185
    """,
    ("gennape", "10, NDCG@10"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201            | 0.9270 | 0.9845 | 0.9856 | 0.9868 | 0.9755 | 0.9858 | 0.9793
        NB-201 w/ FT      | 0.9751 ± 0.0082 | 0.9362 ± 0.0298 | 0.9818 ± 0.0063 | 0.9834 ± 0.0054 \
            | 0.9910 ± 0.0023 | 0.9902 ± 0.0063 | 0.9855 ± 0.0030
        NB-301            | 0.5341 | 0.3278 | 0.6411 | 0.7737 | 0.7260 | 0.4046 | 0.7885
        NB-301 w/ FT      | 0.9723 ± 0.0134 | 0.8767 ± 0.0674 | 0.8979 ± 0.0518 | 0.8961 ± 0.0710 \
            | 0.9150 ± 0.0883 | 0.9666 ± 0.0102 | 0.9765 ± 0.0081
        PN                | 0.4426 | 0.4668 | 0.9564 | 0.9003 | 0.9326 | 0.4849 | 0.8736
        PN w/ FT          | 0.9287 ± 0.0271 | 0.9424 ± 0.0045 | 0.9759 ± 0.0075 | 0.9716 ± 0.0144 \
            | 0.9663 ± 0.0172 | 0.9752 ± 0.0073 | 0.9800 ± 0.0057
        OFA-MBv3          | 0.8464 | 0.9092 | 0.9252 | 0.9270 | 0.8067 | 0.9079 | 0.9234
        OFA-MBv3 w/ FT    | 0.8859 ± 0.0536 | 0.9558 ± 0.0046 | 0.9636 ± 0.0070 | 0.9620 ± 0.0100 \
            | 0.9596 ± 0.0253 | 0.9697 ± 0.0132 | 0.9838 ± 0.0030
        OFA-RN            | 0.9470 | 0.2515 | 0.2018 | 0.3036 | 0.3066 | 0.3859 | 0.6606
        OFA-RN w/ FT      | 0.9717 ± 0.0090 | 0.9416 ± 0.0213 | 0.9174 ± 0.0333 | 0.8932 ± 0.0321 \
            | 0.9465 ± 0.0140 | 0.9129 ± 0.0422 | 0.9463 ± 0.0236
        HiAML             | 0.5088 | 0.7745 | 0.7925 | 0.7197 | 0.7498 | 0.7288 | 0.6892
        HiAML w/ FT       | 0.7356 ± 0.0371 | 0.6743 ± 0.0848 | 0.6721 ± 0.0703 | 0.7150 ± 0.0519 \
            | 0.7470 ± 0.0449 | 0.7527 ± 0.0444 | 0.7804 ± 0.0211
        Inception         | 0.6064 | 0.8241 | 0.8666 | 0.7540 | 0.8736 | 0.7834 | 0.8150
        Inception w/ FT   | 0.7310 ± 0.0423 | 0.8283 ± 0.0312 | 0.7808 ± 0.0369 | 0.7605 ± 0.0276 \
            | 0.7113 ± 0.0445 | 0.7510 ± 0.0550 | 0.8073 ± 0.0072
        Two-Path          | 0.6339 | 0.6496 | 0.7993 | 0.7944 | 0.7223 | 0.7278 | 0.8275
        Two-Path w/ FT    | 0.7860 ± 0.0268 | 0.7839 ± 0.0436 | 0.8334 ± 0.0304 | 0.8326 ± 0.0281 \
            | 0.7921 ± 0.0514 | 0.7888 ± 0.0434 | 0.8392 ± 0.0220
    """,
}


def published(paper: str, table: str, row: str, column: str) -> Published:
    """Look a number up, such as `published("gennape", "8", "NB-201 w/ FT", "GENNAPE")`.

    Raises:
        ConfigError: when the table, row or column is not among the collected ones; the message lists the choices.
    """
    if (paper, table) not in _TABLES:
        raise _unknown("a published table", "published", [f"{p} {t}" for p, t in _TABLES], f"{paper} {table}")
    where = f"published, {paper} table {table}"
    rows = _parsed(_TABLES[paper, table])
    if row not in rows:
        raise _unknown("a row of a published table", where, list(rows), row)
    if column not in rows[row]:
        raise _unknown("a column of a published table", where, list(rows[row]), column)
    text = rows[row][column]
    value, _, spread = text.partition(" ± ")
    return Published(float(value), float(spread) if spread else None, text, f"{_PAPERS[paper]}, Table {table}")


def _parsed(text: str) -> dict[str, dict[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    (_, *columns), *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return {row: dict(zip(columns, cells, strict=True)) for row, *cells in rows}


def _unknown(checked: str, where: str, choices: list[str], got: str) -> ConfigError:
    return ConfigError(checked, where=where, expected="; ".join(choices), got=got, remedy="Choose one of these.")
