#!/usr/bin/env bash
# Trains the exit policy of the reference model's inflated 1 B shape, as the one that ships was:
#   exit_policy.sh WORK_DIRECTORY [LEADLINE]      (LEADLINE: the program, default ./leadline at the root)
# needs WORK/*.trace and WORK/costs.txt, made by
#   leadline policy trace --model models/reference --prompts models/reference/tasks.jsonl --exits 1,2,3,4,5,6,8 -o WORK/answers.trace
#   python3 models/reference/inflate.py WORK/1b && leadline policy costs --model WORK/1b -o WORK/costs.txt
# Learns on the training answers, chooses on the selection answers, exports by logs of the selection answers, and prints the table of
# the held-out answers, which nothing was chosen on.
set -euo pipefail
work=$1
leadline=${2:-$(cd "$(dirname "$0")/../../.." && pwd)/leadline}
input=(--trace "$work"/*.trace --costs "$work/costs.txt" --deepen "${DEEPEN:-2}") # the costs say which model the policy is for
"$leadline" policy lede "${input[@]}" --exits "${LEDE_EXITS:-2,4,6,8,10,12}" --lede "$work/lede.llp"
read -ra fit <<< "${FIT:-}" # flags of the fit: FIT="--iterations 2 --steps 2000" tries this script out
"$leadline" policy fit "${input[@]}" "${fit[@]}" -o "$work/candidate.llp"
# Logs around the policy judge it; logs around the static setting that it must beat at a batch size judge that one: neither shows what the
# other does.
statics=(${STATICS:-2,4 2,2 8,3}) # at batch 1, 4, 16
rm -rf "$work/log" "$work/log_static"
for batch in 1 4 16; do
  explore=(policy explore "${input[@]}" --split selection --batch "$batch" --repeats "$((batch == 1 ? 12 : 6))" --epsilon 0.15)
  "$leadline" "${explore[@]}" --policy "$work/candidate.llp" --seed 1 --log "$work/log"
  around=${statics[$((batch == 1 ? 0 : batch == 4 ? 1 : 2))]}
  "$leadline" "${explore[@]}" --around "$around" --seed 2 --log "$work/log_static"
done
"$leadline" policy export "$work/candidate.llp" "$work/log" --baselines "$work/log_static" -o "$work/exit_policy.llp"
for batch in 1 4 16; do
  "$leadline" policy replay "${input[@]}" --policy "$work/exit_policy.llp" --lede "$work/lede.llp" --batch "$batch"
done
