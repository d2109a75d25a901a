// Sorts a short text into question, complaint, praise or spam, and says which words decided: an agent in miniature.
// All numbers are whole and nothing is random: every machine comes to the same bytes, so witnesses can check them.
//
//   in   {"text": "It came broken. Thanks!", "labels": ["complaint", "praise"]}   no `labels`: any of the four
//   out  {"label":"complaint","scores":{"complaint":5,"praise":3},"permille":{"complaint":800,"praise":200},
//        "decided_by":[{"word":"broken","negated":false,"times":1,"weight":5}]}
//
// The model is log-linear, with weights set by hand, in bits: 3 more and a class is 2^3 times as likely. The class with
// the highest score wins; if that is 0 or shared with another class, the label is "unclear". After "not" and its like,
// praise and complaint change places for two words. It knows English, and only the words below.
//
// The input may be any bytes at all; what is wrong with it is said on standard error, with exit code 2.
// Build: python -m ziglang cc --target=wasm32-wasi -O2 -s -Wl,-z,stack-size=65536 -o classify.wasm classify.c
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INPUT_MAX = 1 << 20, // bytes; more than any manifest holds
    MODEL_MAX = 160,     // words in the model
    WORD_MAX = 16,       // letters of its longest word, with an s
    TIMES_MAX = 3,       // a word repeated more often says no more
    REACH = 2,           // words that a negation turns around
    REASONS_MAX = 5,
    BITS_MAX = 20,       // a class further behind than this has a share of 0
};

enum { QUESTION, COMPLAINT, PRAISE, SPAM, CLASSES };
static const char *const NAMES[CLASSES] = {"question", "complaint", "praise", "spam"};

// Small letters without apostrophes; CAPS is any word of four capitals or more.
static const struct { int class; unsigned weight; const char *words; } GROUPS[] = {
    {QUESTION, 4, "? how"},
    {QUESTION, 3, "anybody anyone explain what when where which who why"},
    {QUESTION, 2, "can could does whether would"},
    {COMPLAINT, 6, "complaint terrible unacceptable worst"},
    {COMPLAINT, 5, "annoying awful broken complain disappointed disappointing hate horrible refund rude useless"},
    {COMPLAINT, 4, "bad broke crashed crashes failed poor unhappy waste wrong"},
    {COMPLAINT, 3, "bug cancel charged crash delay delayed error fail fix late lost missing problem slow waiting"},
    {COMPLAINT, 1, "CAPS claim please"},
    {PRAISE, 5, "amazing awesome brilliant delightful excellent fantastic impressed superb wonderful"},
    {PRAISE, 4, "beautiful great helpful love loved perfect"},
    {PRAISE, 3, "best good happy nice recommend smooth smoothly thank thanks works"},
    {PRAISE, 2, "easy fast kind work worked working"},
    {SPAM, 5, "casino lottery pill prize winner"},
    {SPAM, 4, "bitcoin bonus click congratulations crypto discount earn guaranteed loan win won"},
    {SPAM, 3, "cash claim free income investment offer urgent"},
    {SPAM, 2, "$ CAPS buy cheap deal http https limited money subscribe unsubscribe www"},
};
static const char NEGATIONS[] = " arent cannot cant didnt doesnt dont isnt never no not wasnt without wont ";

// ---- Reading: strict JSON (RFC 8259). Strings are decoded in place, since decoding never makes them longer.

typedef struct { const unsigned char *bytes; size_t length; } Text;

static unsigned char input[INPUT_MAX + 2]; // ends with a 0, which no rule of the grammar takes: nothing reads past it
static size_t length, at;

static void put_number(FILE *to, size_t number) {
    if (number > 9) put_number(to, number / 10);
    fputc('0' + (int)(number % 10), to);
}

static _Noreturn void fail(const char *subject, const char *what) {
    fputs("classify: ", stderr), fputs(subject, stderr), fputs(what, stderr);
    fputs(" (at byte ", stderr), put_number(stderr, at), fputs(")\n", stderr);
    exit(2);
}

static _Noreturn void malformed(const char *what) {
    fail("the input is not JSON: ", at < length ? what : "it ends too early");
}

static unsigned char peek(void) { // the next byte that is not white space
    while (input[at] == ' ' || input[at] == '\t' || input[at] == '\n' || input[at] == '\r') at++;
    return input[at];
}

static int accept(unsigned char c) {
    return peek() == c && ++at;
}

static void expect(unsigned char c, const char *subject, const char *what) {
    if (accept(c)) return;
    if (at == length) malformed("");
    fail(subject, what);
}

static uint32_t hex4(void) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, at++) {
        int c = input[at], letter = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
        if (digit < 0) malformed("\\u without four hex digits");
        value = value << 4 | (uint32_t)digit;
    }
    return value;
}

static uint32_t escape(void) { // what follows a backslash
    static const char NAMED[] = "\"\\/bfnrt", MEANT[] = "\"\\/\b\f\n\r\t";
    int c = input[at];
    const char *named = c ? strchr(NAMED, c) : NULL;
    if (!named && c != 'u') malformed("an unknown escape");
    at++;
    if (named) return (uint32_t)MEANT[named - NAMED];
    uint32_t high = hex4();
    if (high < 0xd800 || high > 0xdfff) return high;
    uint32_t low = high < 0xdc00 && input[at] == '\\' && input[at + 1] == 'u' ? (at += 2, hex4()) : 0;
    if (low < 0xdc00 || low > 0xdfff) malformed("half of a surrogate pair");
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static unsigned char *encode(unsigned char *to, uint32_t c) {
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3; // bytes after the first
    *to++ = (unsigned char)(more ? (0xff00u >> (more + 1)) | (c >> (6 * more)) : c);
    while (more-- > 0) *to++ = (unsigned char)(0x80 | ((c >> (6 * more)) & 0x3f));
    return to;
}

static size_t utf8(const unsigned char *s) { // the length of a well-formed character (Unicode, table 3-7)
    if (s[0] < 0x80) return 1;
    size_t n = s[0] < 0xc2 || s[0] > 0xf4 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (n == 0 || s[1] < low || s[1] > high) malformed("invalid UTF-8");
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) malformed("invalid UTF-8");
    return n;
}

static Text string(const char *subject, const char *right) {
    expect('"', subject, right);
    unsigned char *start = input + at, *to = start;
    while (input[at] != '"') {
        if (input[at] < 0x20) malformed("a control character in a string");
        size_t n = input[at] == '\\' ? 0 : utf8(input + at);
        if (n == 0) at++, to = encode(to, escape());
        for (; n > 0; n--) *to++ = input[at++];
    }
    at++;
    return (Text){start, (size_t)(to - start)};
}

static int is(Text text, const char *word) {
    return text.length == strlen(word) && memcmp(text.bytes, word, text.length) == 0;
}

static unsigned labels(void) { // a bit for each class
    static const char RIGHT[] = " must list question, complaint, praise or spam, each once at most";
    unsigned allowed = 0;
    expect('[', "`labels`", RIGHT);
    do {
        Text name = string("`labels`", RIGHT);
        int class = 0;
        while (class < CLASSES && !is(name, NAMES[class])) class++;
        if (class == CLASSES || allowed & 1u << class) fail("`labels`", RIGHT);
        allowed |= 1u << class;
    } while (accept(','));
    expect(']', "`labels`", " goes on without a comma");
    return allowed;
}

static Text read_inputs(unsigned *allowed) { // an input that is not for this program is refused, never skipped
    Text text = {NULL, 0};
    expect('{', "the input", " must be a JSON object with a `text`");
    for (int more = peek() != '}'; more; more = accept(',')) {
        Text name = string("the input", " has no name where one must be");
        expect(':', "an input", " has no colon after its name");
        if (is(name, "text")) {
            if (text.bytes) fail("`text`", " is given twice");
            text = string("`text`", " must be a string");
        } else if (is(name, "labels")) {
            if (*allowed) fail("`labels`", " is given twice");
            *allowed = labels();
        } else {
            fail("an input", " is neither `text` nor `labels`");
        }
    }
    expect('}', "the input", " goes on without a comma");
    if (peek() || at < length) fail("the input", " goes on after its end");
    if (!text.bytes) fail("`text`", " is missing");
    if (!*allowed) *allowed = (1u << CLASSES) - 1;
    return text;
}

// ---- Weighing.

// `times`: how often it is in the text, plain and negated.
typedef struct { const char *letters; size_t length; int class; unsigned weight, times[2]; } Word;

static Word model[MODEL_MAX];
static int words;

static void load(void) {
    for (size_t g = 0; g < sizeof GROUPS / sizeof *GROUPS; g++)
        for (const char *p = GROUPS[g].words; *p && words < MODEL_MAX; p += *p == ' ') {
            size_t n = strcspn(p, " ");
            model[words++] = (Word){p, n, GROUPS[g].class, GROUPS[g].weight, {0, 0}};
            p += n;
        }
}

static int count(const char *word, size_t n, int negated) {
    int known = 0;
    for (Word *w = model; w < model + words; w++)
        if (w->length == n && memcmp(w->letters, word, n) == 0)
            w->times[negated] += w->times[negated] < TIMES_MAX, known = 1;
    return known;
}

static void read_words(Text text) {
    char word[WORD_MAX + 4] = " "; // a space on both sides, as in NEGATIONS; one letter too many, to be no known word
    size_t n = 0, small = 0, i = 0;
    for (int c = 0, negated = 0; c >= 0;) {
        c = i < text.length ? text.bytes[i++] : -1;
        // U+2000 to U+203F: the curly apostrophe is a straight one, the other marks are spaces.
        if (c == 0xe2 && text.bytes[i] == 0x80) c = text.bytes[i + 1] == 0x99 ? '\'' : ' ', i += 2;
        if (c == '\'') continue;
        int capital = c >= 'A' && c <= 'Z';
        if (capital || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80) {
            if (n <= WORD_MAX) word[1 + n++] = (char)(capital ? c | 0x20 : c);
            small += !capital;
            continue;
        }
        if (n >= 4 && small == 0) count("CAPS", 4, 0);
        if (n > 0) {
            if (!count(word + 1, n, negated > 0) && word[n] == 's') count(word + 1, n - 1, negated > 0);
            word[1 + n] = ' ', word[2 + n] = 0;
            negated = strstr(NEGATIONS, word) ? REACH : negated - (negated > 0);
        }
        n = small = 0;
        if (c > ' ') count((char[]){(char)c}, 1, 0), negated = 0;
    }
}

// What a word says for a class, plain or negated.
static unsigned says(const Word *w, int negated, int class) {
    int turned = negated && class == PRAISE ? COMPLAINT : negated && class == COMPLAINT ? PRAISE : class;
    return w->class == turned ? w->times[negated] * w->weight : 0;
}

static void put_by_class(const char *name, unsigned allowed, const unsigned value[]) {
    fputs(name, stdout);
    for (int c = 0, comma = '{'; c < CLASSES; c++) {
        if (!(allowed & 1u << c)) continue;
        putchar(comma), putchar('"'), fputs(NAMES[c], stdout), fputs("\":", stdout), put_number(stdout, value[c]);
        comma = ',';
    }
    putchar('}');
}

static void put_reasons(int class) { // the heaviest words first, equally heavy ones as the model has them
    for (int reasons = 0; reasons < REASONS_MAX; reasons++) {
        Word *top = model;
        int negated = 0;
        for (int i = 0; i < 2 * words; i++)
            if (says(&model[i / 2], i % 2, class) > says(top, negated, class)) top = &model[i / 2], negated = i % 2;
        unsigned weight = says(top, negated, class);
        if (weight == 0) return;
        fputs(reasons ? ",{\"word\":\"" : "{\"word\":\"", stdout), fwrite(top->letters, 1, top->length, stdout);
        fputs(negated ? "\",\"negated\":true" : "\",\"negated\":false", stdout);
        fputs(",\"times\":", stdout), put_number(stdout, top->times[negated]);
        fputs(",\"weight\":", stdout), put_number(stdout, weight), putchar('}');
        top->times[negated] = 0;
    }
}

int main(void) {
    length = fread(input, 1, INPUT_MAX + 1, stdin);
    if (ferror(stdin)) fail("the input", " cannot be read");
    if (length > INPUT_MAX) fail("the input", " is longer than 1 MiB");
    input[length] = 0;
    unsigned allowed = 0;
    load(), read_words(read_inputs(&allowed));

    unsigned scores[CLASSES] = {0}, permille[CLASSES] = {0}, total = 0, rest = 1000;
    int best = -1, clear = 0;
    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < 2 * words; i++) scores[c] += says(&model[i / 2], i % 2, c);
        if (!(allowed & 1u << c) || (best >= 0 && scores[c] < scores[best])) continue;
        clear = scores[c] > (best < 0 ? 0 : scores[best]);
        if (best < 0 || clear) best = c;
    }
    for (int c = 0; c < CLASSES; c++)
        if (allowed & 1u << c && scores[best] - scores[c] <= BITS_MAX)
            total += permille[c] = 1u << (BITS_MAX - (scores[best] - scores[c]));
    for (int c = 0; c < CLASSES; c++) rest -= permille[c] = (unsigned)(permille[c] * 1000ull / total);
    permille[best] += rest; // what rounding down left over

    fputs("{\"label\":\"", stdout), fputs(clear ? NAMES[best] : "unclear", stdout);
    put_by_class("\",\"scores\":", allowed, scores), put_by_class(",\"permille\":", allowed, permille);
    fputs(",\"decided_by\":[", stdout);
    if (clear) put_reasons(best);
    puts("]}");
    if (fflush(stdout)) fail("the answer", " cannot be written");
    return 0;
}
