// What every bench is made of: hosts that write parameters, sources that give words, sinks that take them, and taps that
// compare what passes with the golden words. Options: +SET=FOLDER, +OUT=FOLDER for dumps, +SEED=N, +STALLS=PERCENT,
// +RESTS=CYCLES.

// Writes a tensor's words to a design's parameter port, then says done: the next host starts.
module host #(parameter PATH = "", parameter int DEPTH = 1, parameter int KIND = 0) (
    input  logic clk, start,
    output logic done, write, output logic [3:0] kind, output logic [15:0] at, word);
  logic [31:0] words [0:DEPTH-1];
  string folder, path;
  integer place;
  initial begin
    if ($value$plusargs("SET=%s", folder) == 0) folder = ".";
    path = $sformatf("%0s/%0s", folder, PATH);
    $readmemh(path, words);
    {done, write, kind, at, word} = '0;
    place = 0;
  end
  always @(posedge clk) begin
    write <= start && place < DEPTH;
    done <= start && place == DEPTH && !write;
    if (start && place < DEPTH) begin
      kind <= KIND[3:0];
      at <= place[15:0];
      word <= words[place][15:0];
      place <= place + 1;
    end
  end
endmodule

// Counts COUNT elements through a handshake, with seeded pauses, and a rest behind each ROW of them (0: none).
module source #(parameter int COUNT = 1, parameter int NUMBER = 0, parameter int ROW = 0) (
    input  logic clk, start, ready,
    output logic valid, output logic [31:0] at);
  integer seed, stalls, rests, resting, state;
  initial begin
    if ($value$plusargs("SEED=%d", seed) == 0) seed = 1;
    if ($value$plusargs("STALLS=%d", stalls) == 0) stalls = 30;
    if ($value$plusargs("RESTS=%d", rests) == 0) rests = 0;
    state = seed * 1000 + 2 * NUMBER;
    resting = 0;
    valid = 0;
    at = 0;
  end
  wire passes = valid && ready;
  wire [31:0] next = at + 32'(passes);
  wire row_passes = ROW != 0 && rests != 0 && passes && next % (ROW == 0 ? 1 : ROW) == 0;
  always @(posedge clk)
    if (start && (passes || !valid)) begin
      at <= next;
      resting <= row_passes ? rests : resting > 0 ? resting - 1 : 0;
      valid <= !row_passes && resting == 0 && next < COUNT && ($random(state) & 32'h7fffffff) % 100 >= stalls;
    end
endmodule

// Takes words, with seeded pauses.
module sink #(parameter int NUMBER = 0) (input logic clk, output logic ready);
  integer seed, stalls, state;
  initial begin
    if ($value$plusargs("SEED=%d", seed) == 0) seed = 1;
    if ($value$plusargs("STALLS=%d", stalls) == 0) stalls = 30;
    state = seed * 1000 + 2 * NUMBER + 1;
    ready = 0;
  end
  always @(posedge clk) ready <= ($random(state) & 32'h7fffffff) % 100 >= stalls;
endmodule

// A tensor's word for element `at`; one of fewer words repeats them along the last axes.
module operand #(parameter PATH = "", parameter int DEPTH = 1) (input logic [31:0] at, output logic [31:0] word);
  logic [31:0] words [0:DEPTH-1];
  string folder, path;
  initial begin
    if ($value$plusargs("SET=%s", folder) == 0) folder = ".";
    path = $sformatf("%0s/%0s", folder, PATH);
    $readmemh(path, words);
  end
  assign word = words[at % DEPTH];
endmodule

// Compares the words that pass with a tensor's golden words, says where the first differs, and dumps them at the end.
module tap #(
    parameter PATH = "", parameter int BITS = 16, parameter int DEPTH = 1, parameter int DUMPED = 1) (
    input  logic clk, valid, dump, input logic [31:0] word,
    output logic done, output integer count, wrong);
  logic [BITS-1:0] expected [0:DEPTH-1];
  logic [BITS-1:0] found [0:DEPTH-1];
  string folder, path;
  integer file;
  initial begin
    if ($value$plusargs("SET=%s", folder) == 0) folder = ".";
    path = $sformatf("%0s/%0s", folder, PATH);
    $readmemh(path, expected);
    count = 0;
    wrong = 0;
  end
  assign done = count >= DEPTH;
  always @(posedge clk)
    if (valid) begin
      if (count < DEPTH) found[count] <= word[BITS-1:0];
      if (count >= DEPTH || word[BITS-1:0] !== expected[count]) begin
        if (wrong == 0 && count >= DEPTH) $display("%0s: word %0d, expected %0d words", PATH, count, DEPTH);
        else if (wrong == 0) $display("%0s: word %0d is %h, expected %h", PATH, count, word[BITS-1:0], expected[count]);
        wrong <= wrong + 1;
      end
      count <= count + 1;
    end
  always @(posedge dump) begin
    if (!done) $display("%0s: %0d words, expected %0d", PATH, count, DEPTH);
    if (DUMPED != 0 && $value$plusargs("OUT=%s", folder) != 0) begin
      path = $sformatf("%0s/%0s", folder, PATH);
      file = $fopen(path, "w");
      for (integer i = 0; i < count && i < DEPTH; i = i + 1) $fdisplay(file, "%h", found[i]);
      $fclose(file);
    end
  end
endmodule
