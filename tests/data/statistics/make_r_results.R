# Reference numbers for tests/studies/statistics/test_references.py.
#
# Makes r_results.csv from ranks.csv and values.csv with R itself (packages stats and vcd):
#   cd tests/data/statistics && Rscript make_r_results.R
# Debian: apt-get install r-base-core r-cran-vcd. Only R's own functions, and enumeration written out here.

suppressPackageStartupMessages(library(vcd))

lines <- list()
note <- function(table, quantity, item, value) {
  lines[[length(lines) + 1]] <<- sprintf("%s,%s,%s,%.15g", table, quantity, item, value)
}

wide <- function(rows, number) {
  # (clip, method) with the methods in the order of the file
  methods <- unique(rows$method)
  clips <- unique(rows$clip)
  matrix(sapply(methods, function(m) rows[[number]][match(paste(clips, m), paste(rows$clip, rows$method))]),
         nrow = length(clips), dimnames = list(clips, methods))
}

permutations <- function(x) {
  if (length(x) == 1) return(list(x))
  found <- list()
  for (i in seq_along(x)) for (p in permutations(x[-i])) found[[length(found) + 1]] <- c(x[i], p)
  found
}

enumerated_friedman <- function(ranks) {
  # all (k!)^n arrangements, each order of a block equally likely
  n <- nrow(ranks); k <- ncol(ranks)
  orders <- lapply(seq_len(n), function(i) do.call(rbind, permutations(ranks[i, ])))
  choice <- as.matrix(expand.grid(rep(list(seq_len(factorial(k))), n)))
  sums <- matrix(0, nrow(choice), k)
  for (i in seq_len(n)) sums <- sums + orders[[i]][choice[, i], ]
  centre <- n * (k + 1) / 2
  observed <- colSums(ranks)
  ranges <- apply(sums, 1, max) - apply(sums, 1, min)
  list(omnibus = mean(rowSums((sums - centre)^2) >= sum((observed - centre)^2) - 1e-9),
       single_step = function(i, j) mean(ranges >= abs(observed[i] - observed[j]) - 1e-9))
}

pairs_of <- function(k) combn(k, 2, simplify = FALSE)

tests_of <- function(name, table, smaller_is_better) {
  test <- friedman.test(table)
  note(name, "friedman_chi2", "", unname(test$statistic))
  note(name, "friedman_p", "", test$p.value)
  ranks <- t(apply(if (smaller_is_better) table else -table, 1, rank))
  n <- nrow(ranks); k <- ncol(ranks)
  note(name, "kendall_w", "", unname(test$statistic) / (n * (k - 1)))
  signs <- c()
  for (pair in pairs_of(k)) {
    item <- paste(colnames(table)[pair], collapse = "|")
    gap <- abs(diff(colMeans(ranks)[pair]))
    note(name, "nemenyi_p", item, ptukey(gap / sqrt(k * (k + 1) / (12 * n)), k, Inf, lower.tail = FALSE))
    wins <- sum(ranks[, pair[1]] < ranks[, pair[2]])
    losses <- sum(ranks[, pair[1]] > ranks[, pair[2]])
    test <- binom.test(wins, wins + losses)
    note(name, "wins", item, wins)
    note(name, "losses", item, losses)
    note(name, "sign_p", item, test$p.value)
    note(name, "win_share_low", item, test$conf.int[1])
    note(name, "win_share_high", item, test$conf.int[2])
    signs[item] <- test$p.value
  }
  adjusted <- p.adjust(signs, "holm")
  for (item in names(adjusted)) note(name, "holm_p", item, adjusted[item])
  if (factorial(k)^n <= 1e5) {
    exact <- enumerated_friedman(ranks)
    note(name, "exact_p", "", exact$omnibus)
    for (pair in pairs_of(k)) {
      item <- paste(colnames(table)[pair], collapse = "|")
      note(name, "single_step_p", item, exact$single_step(pair[1], pair[2]))
      note(name, "closed_p", item, max(exact$omnibus, signs[item]))
    }
  }
}

ranks <- read.csv("ranks.csv")
for (name in setdiff(unique(ranks$stratum), "readers")) {
  tests_of(name, wide(ranks[ranks$stratum == name, ], "rank"), TRUE)
}

# Two readers of the same clips: pairwise preferences in both directions, quadratic (Fleiss-Cohen) weights.
both <- lapply(c("R1", "R2"), function(reader) {
  t(apply(wide(ranks[ranks$stratum == "readers" & ranks$reader == reader, ], "rank"), 1, rank))
})
preferences <- function(table) {
  unlist(lapply(seq_len(ncol(table)), function(i) lapply(setdiff(seq_len(ncol(table)), i), function(j) {
    factor(sign(table[, j] - table[, i]), levels = c(-1, 0, 1))
  })))
}
counts <- table(preferences(both[[1]]), preferences(both[[2]]))
note("readers", "kappa", "", unname(Kappa(counts, weights = "Fleiss-Cohen")$Weighted["value"]))
for (reader in 1:2) tests_of(paste0("reader ", reader), both[[reader]], TRUE)
clips <- seq_len(nrow(both[[1]]))
tau <- sapply(clips, function(i) suppressWarnings(cor(both[[1]][i, ], both[[2]][i, ], method = "kendall")))
note("readers", "tau_b", "", mean(tau, na.rm = TRUE))
# Friedman's statistic of the summed ranks, as the permutation of whole clips sees it
sums <- both[[1]] + both[[2]]
centred <- sums - rowMeans(sums)
note("readers", "friedman_chi2", "", (ncol(sums) - 1) * sum(colSums(centred)^2) / sum(centred^2))
for (i in clips) {
  ranked <- rbind(both[[1]][i, ], both[[2]][i, ])
  test <- suppressWarnings(friedman.test(ranked))
  note("readers", "kendall_w", i, unname(test$statistic) / (2 * (ncol(ranked) - 1)))
}

# A published table of couples' ratings (Hout, Duncan and Sobel 1987), in vcd: weighted kappas
data(SexualFun)
for (weights in c("Equal-Spacing", "Fleiss-Cohen")) {
  note("SexualFun", "kappa", weights, unname(Kappa(unclass(SexualFun), weights = weights)$Weighted["value"]))
}

values <- read.csv("values.csv")
for (name in unique(values$stratum)) {
  table <- wide(values[values$stratum == name, ], "value")
  tests_of(name, table, FALSE)
  for (pair in pairs_of(ncol(table))) {
    item <- paste(colnames(table)[pair], collapse = "|")
    difference <- table[, pair[1]] - table[, pair[2]]
    test <- wilcox.test(difference, conf.int = TRUE, exact = TRUE)
    note(name, "hodges_lehmann", item, unname(test$estimate))
    note(name, "hodges_lehmann_low", item, test$conf.int[1])
    note(name, "hodges_lehmann_high", item, test$conf.int[2])
    test <- shapiro.test(difference)
    note(name, "shapiro_w", item, unname(test$statistic))
    note(name, "shapiro_p", item, test$p.value)
  }
}

writeLines(c("table,quantity,item,value", unlist(lines)), "r_results.csv")
cat(R.version.string, "vcd", as.character(packageVersion("vcd")), "\n")
