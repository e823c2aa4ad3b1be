// Constants of the vector case lfsr_words; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package lfsr_words_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "lfsr_words";
  localparam OPERATION = "lfsr.words";
  typedef enum int {
    CONFIG_ROUNDING_NEAREST_EVEN = 0,
    CONFIG_ROUNDING_TOWARD_ZERO = 1,
    CONFIG_ROUNDING_UP = 2,
    CONFIG_ROUNDING_DOWN = 3,
    CONFIG_ROUNDING_NEAREST_AWAY = 4
  } config_rounding_e;
  localparam int CONFIG_ROUNDING = CONFIG_ROUNDING_NEAREST_EVEN;
  typedef enum int {
    CONFIG_OVERFLOW_INFINITY = 0,
    CONFIG_OVERFLOW_SATURATE = 1
  } config_overflow_e;
  localparam int CONFIG_OVERFLOW = CONFIG_OVERFLOW_INFINITY;
  localparam int CONFIG_FLUSH = 0;
  localparam int START_BITS = 32;
  localparam int START_DEPTH = 12;
  localparam int START_DIM_RUN = 12;
  localparam START_HEX = "start.hex";
  localparam int SEED_BITS = 16;
  localparam int SEED_DEPTH = 1;
  localparam SEED_HEX = "seed.hex";
  localparam logic [15:0] SEED_WORD = 16'hace1;
  localparam int COUNT_BITS = 32;
  localparam int COUNT_DEPTH = 1;
  localparam COUNT_HEX = "count.hex";
  localparam logic [31:0] COUNT_WORD = 32'h00000010;
  localparam int WORDS_BITS = 16;
  localparam int WORDS_DEPTH = 192;
  localparam int WORDS_DIM_RUN = 12;
  localparam int WORDS_DIM_ELEMENT = 16;
  localparam WORDS_HEX = "words.hex";
endpackage : lfsr_words_pkg
/* verilator lint_on UNUSEDPARAM */
