/* SPDX-License-Identifier: Apache-2.0 */
/* What effnet quantize says of its work: as JSON, as a table, and what to do about it. */
#include "quantize_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *number_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* Pictures that were cut off: {"picture": file, "node": where it is loudest, "times": how loud, "nodes": in how many}.
 */
static json_t *loud_json(const EffCompiled *c, const EffPictures *pictures)
{
    json_t *list = json_array();
    const EffLoudPicture *p;
    for (size_t i = 0; (p = eff_compiled_loud(c, i)) != NULL; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:f,s:i}", "picture", pictures->name(pictures->ctx, p->picture),
                                              "node", p->node, "times", p->times, "nodes", p->n_nodes));
    return list;
}

static void print_loud(const EffCompiled *c, const EffPictures *pictures)
{
    enum { MOST = 10 };
    const EffLoudPicture *p;
    size_t n = 0;
    while (eff_compiled_loud(c, n) != NULL)
        n++;
    if (n == 0)
        return;
    printf("\n%zu of %zu pictures are far louder than all others somewhere. What they drive beyond the others' range "
           "is cut\n"
           "off, so that the others keep their resolution; on pictures like these int8 can be wrong. Look at them. If "
           "the\n"
           "model is to see many like them, calibrate on more of them, or widen the nodes' ranges with --table.\n",
           n, pictures->n);
    printf("%-46s %9s  %s\n", "cut off", "times", "loudest in");
    for (size_t i = 0; i < MOST && (p = eff_compiled_loud(c, i)) != NULL; i++) {
        printf("%-46s %9.1f  %s", pictures->name(pictures->ctx, p->picture), p->times, p->node);
        if (p->n_nodes > 1)
            printf(" and %d others", p->n_nodes - 1);
        putchar('\n');
    }
    if (n > MOST)
        printf("and %zu more: see \"cut_off\" in the report\n", n - MOST);
}

/* The ranking, where one was asked for, and the table's nodes. */
static json_t *promotion_json(const EffCompiled *c)
{
    const EffPromotionSummary s = eff_compiled_promotion(c);
    json_t *nodes = json_array();
    const EffNodeRank *rank;
    for (size_t i = 0; (rank = eff_compiled_rank(c, i)) != NULL; i++)
        json_array_append_new(nodes, json_pack("{s:s,s:s,s:o,s:s}", "name", rank->name, "type", rank->type, "kl_gain",
                                               number_or_null(rank->gain), "reason", rank->reason));
    return json_pack("{s:I,s:I,s:I,s:o,s:o,s:o,s:b,s:o}", "n_promoted", (json_int_t)s.n_promoted, "n_pictures",
                     (json_int_t)s.n_pictures, "n_held_back", (json_int_t)s.n_held_back, "kl",
                     s.n_pictures > 0 ? json_real(s.kl) : json_null(), "drop_before",
                     s.n_held_back > 0 ? json_real(s.drop_before) : json_null(), "drop",
                     s.n_held_back > 0 ? json_real(s.drop) : json_null(), "reached", s.reached, "ranking", nodes);
}

/* ---- Answers, stage by stage ---- */

static const char *const stage_names[EFF_N_STAGES] = {
    [EFF_STAGE_PLAIN] = "plain", [EFF_STAGE_STEPS] = "steps a channel", [EFF_STAGE_FINAL] = "as written"};

static json_t *quality_json(const EffCompiled *c)
{
    const EffQuality q = eff_compiled_quality(c);
    json_t *stages = json_array();
    for (int i = 0; i < EFF_N_STAGES; i++)
        json_array_append_new(stages, json_pack("{s:s,s:o,s:o}", "stage", stage_names[i], "agreement",
                                                number_or_null(q.agreement[i]), "kl", number_or_null(q.kl[i])));
    return json_pack("{s:I,s:b,s:o}", "pictures", (json_int_t)q.n_pictures, "held_back", q.held_back, "stages", stages);
}

static void print_quality(const EffCompiled *c)
{
    const EffQuality q = eff_compiled_quality(c);
    printf("\nbeside float on %zu picture%s that it was %s\n", q.n_pictures, q.n_pictures == 1 ? "" : "s",
           q.held_back ? "not calibrated on" : "calibrated on");
    printf("%-46s %10s %9s\n", "", "agreement", "KL");
    for (int i = 0; i < EFF_N_STAGES; i++) {
        if (isfinite(q.kl[i]))
            printf("%-46s %8.1f %% %9.5f\n", stage_names[i], 100 * q.agreement[i], q.kl[i]);
    }
}

/* ---- What to do ---- */

enum { N_WORST = 3, N_ADVICE = 4, ADVICE_BYTES = 400, FEW_PICTURES = 50 };
#define POOR_DB 20.0

/* The rows with the lowest SQNR, one a node, worst first; NULL past the last. */
static void find_worst(const EffCompiled *c, const EffNodeReport *worst[N_WORST])
{
    const EffNodeReport *row;
    for (int k = 0; k < N_WORST; k++) {
        worst[k] = NULL;
        for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++) {
            bool taken = isnan(row->sqnr_db);
            for (int j = 0; j < k; j++)
                taken |= worst[j] == NULL || strcmp(worst[j]->name, row->name) == 0;
            if (!taken && (worst[k] == NULL || row->sqnr_db < worst[k]->sqnr_db))
                worst[k] = row;
        }
    }
}

/* Sentences for what could be better; how many. */
static int advise(const QuantizeReport *r, const EffNodeReport *worst, char advice[N_ADVICE][ADVICE_BYTES])
{
    const Calibration *cal = r->calibration;
    int n = 0;
    if (cal->n_synthetic > 0)
        snprintf(advice[n++], ADVICE_BYTES, "calibrate on photos as soon as there are some: even ten, with --views 16");
    else if (cal->d.n < FEW_PICTURES)
        snprintf(advice[n++], ADVICE_BYTES, "calibrate on more pictures: %zu are few, 250 or more are best%s", cal->d.n,
                 cal->n_views == 1 ? "; until then --views 16 makes more of them" : "");
    if (r->options->no_gptq)
        snprintf(advice[n++], ADVICE_BYTES, "leave out --no-gptq: the weights were rounded, not chosen");
    if (worst != NULL && worst->sqnr_db < POOR_DB) {
        if (r->options->int16_nodes == 0 && !r->options->has_max_drop)
            snprintf(advice[n++], ADVICE_BYTES,
                     "--int16-nodes 3 measures which convolutions gain most by 16-bit inputs, and gives it to three");
        snprintf(advice[n++], ADVICE_BYTES, "'effnet debug %s --data DIR' shows what each node loses by itself",
                 r->path);
    }
    return n;
}

static void print_advice(const QuantizeReport *r)
{
    const EffNodeReport *worst[N_WORST];
    char advice[N_ADVICE][ADVICE_BYTES];
    find_worst(r->c, worst);
    printf("\nworst nodes:");
    for (int k = 0; k < N_WORST && worst[k] != NULL; k++)
        printf("%s %s %.1f dB", k > 0 ? "," : "", worst[k]->name, worst[k]->sqnr_db);
    putchar('\n');
    const int n = advise(r, worst[0], advice);
    for (int i = 0; i < n; i++)
        printf("advice: %s\n", advice[i]);
}

static json_t *worst_json(const QuantizeReport *r)
{
    const EffNodeReport *worst[N_WORST];
    json_t *list = json_array();
    find_worst(r->c, worst);
    for (int k = 0; k < N_WORST && worst[k] != NULL; k++)
        json_array_append_new(list, json_string(worst[k]->name));
    return list;
}

static json_t *advice_json(const QuantizeReport *r)
{
    const EffNodeReport *worst[N_WORST];
    char advice[N_ADVICE][ADVICE_BYTES];
    json_t *list = json_array();
    find_worst(r->c, worst);
    const int n = advise(r, worst[0], advice);
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_string(advice[i]));
    return list;
}

/* ---- All of it ---- */

json_t *quantize_report_json(const QuantizeReport *r, json_t *origin)
{
    json_t *nodes = json_array();
    const EffNodeReport *row;
    for (size_t i = 0; (row = eff_compiled_report(r->c, i)) != NULL; i++)
        json_array_append_new(
            nodes, json_pack("{s:s,s:s,s:o,s:o,s:o,s:f,s:s,s:o,s:o}", "name", row->name, "type", row->type, "sqnr_db",
                             number_or_null(row->sqnr_db), "plain_db", number_or_null(row->plain_db), "steps_db",
                             number_or_null(row->steps_db), "cosine", row->cosine, "act", row->act, "act_sqnr_db",
                             number_or_null(row->act_sqnr_db), "act_u8_sqnr_db", number_or_null(row->act_u8_sqnr_db)));
    return json_pack("{s:O,s:o,s:o,s:o,s:o,s:o,s:o}", "provenance", origin, "quality", quality_json(r->c), "worst",
                     worst_json(r), "advice", advice_json(r), "cut_off", loud_json(r->c, &r->calibration->pictures),
                     "nodes", nodes, "promotion", promotion_json(r->c));
}

static void print_promotion(const EffCompiled *c)
{
    const EffNodeRank *rank;
    for (size_t i = 0; (rank = eff_compiled_rank(c, i)) != NULL; i++) {
        const char *what = strcmp(rank->type, "f32") == 0 ? "float" : "int16 inputs";
        if (strcmp(rank->reason, "table") == 0)
            printf("%s: %s, as the table says\n", what, rank->name);
        else if (strcmp(rank->reason, "option") == 0)
            printf("%s: %s, as --float-nodes says\n", what, rank->name);
        else if (rank->reason[0] != '\0')
            printf("%s: %s, saves %.3g of KL alone\n", what, rank->name, rank->gain);
    }
}

/* A number of dB in 8 columns, or nothing. */
static void print_db(double db)
{
    if (isnan(db))
        printf(" %8s", "");
    else
        printf(" %8.1f", db);
}

static void print_nodes(const EffCompiled *c)
{
    const EffNodeReport *row;
    printf("%-46s %-4s %8s %8s %8s %9s  %-7s %8s %8s\n", "node", "type", "plain dB", "steps dB", "SQNR dB", "cosine",
           "act", "act dB", "u8 dB");
    for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++) {
        printf("%-46s %-4s", row->name, row->type);
        print_db(row->plain_db);
        print_db(row->steps_db);
        print_db(row->sqnr_db);
        printf(" %9.6f", row->cosine);
        if (isfinite(row->act_sqnr_db))
            printf("  %-7s %8.1f %8.1f", row->act, row->act_sqnr_db, row->act_u8_sqnr_db);
        putchar('\n');
    }
}

void quantize_report_print(const QuantizeReport *r, bool quiet)
{
    const Calibration *cal = r->calibration;
    if (!quiet) {
        print_nodes(r->c);
        print_quality(r->c);
        print_advice(r);
    }
    print_promotion(r->c);
    print_loud(r->c, &cal->pictures);
    if (cal->n_synthetic > 0)
        printf("%s: int8, calibrated on %zu synthetic pictures\n", r->path, cal->n_synthetic);
    else
        printf("%s: int8, calibrated on %zu views of %zu pictures\n", r->path, cal->pictures.n, cal->d.n);
}

void quantize_report_warn(const QuantizeReport *r)
{
    const EffPromotionSummary s = eff_compiled_promotion(r->c);
    if (s.n_held_back > 0 && !s.reached)
        fprintf(stderr,
                "effnet quantize: --max-drop %g was not reached: %g points with %zu nodes of 16-bit inputs, %g "
                "without,\non %zu pictures; more of them gain nothing, or --int16-nodes is the limit\n",
                r->options->max_drop, s.drop, s.n_promoted, s.drop_before, s.n_held_back);
    const char *first = NULL;
    const size_t n_plain = calibration_count_one_colour(r->calibration, &first);
    if (n_plain > 0)
        fprintf(stderr,
                "Note: %zu of %zu pictures are of one colour, the first is %s. They show no ranges; if they "
                "are not\nwhat the model will see, take them out of the folder.\n",
                n_plain, r->calibration->d.n, first);
    if (r->calibration->n_synthetic > 0)
        fprintf(stderr, "Note: no photo was seen. Ranges and weights are guesses, int8 will differ from float more "
                        "often; check it\nwith 'effnet eval' on photos before it is used.\n");
}
