// A convolution that streams rows (SPEC.md C1, C2, C5): words come in [n, h, w, c] order, results leave in that order. A
// ring keeps the rows of codes that windows still read; LANES result channels are summed at a time; one dequantizer.
//
// The same engine runs forward and backward: SPREAD spreads the map by the stride and rotates the kernel (row_window.sv),
// SWAPPED exchanges the kernel's channels. A convolution is 0, 0 forward and 1, 1 backward, a transposed one 1, 0 and 0, 1.
//
// Parameters are written before the first word: p_kind 0 weights in their own order [kh][kw][c_in/groups][c_out], 1 scales,
// 2 biases, 3 the quantizer's factor, 4 the LFSR's seed, 5 fold scales, 6 the mask that the forward pass kept. A set's
// scale of one word is written once, and holds for every channel.
`include "bugs.svh"
module conv_rows #(
    parameter int N = 1, parameter int H = 8, parameter int W = 8, parameter int C = 1,      // the map
    parameter int OH = 8, parameter int OW = 8, parameter int OC = 8,                        // the result
    parameter int KH = 3, parameter int KW = 3, parameter int GROUPS = 1,
    parameter int STRIDE_H = 1, parameter int STRIDE_W = 1, parameter int DILATION_H = 1, parameter int DILATION_W = 1,
    parameter int TOP = 1, parameter int LEFT = 1, parameter int SPREAD = 0, parameter int SWAPPED = 0,
    parameter int X_BITS = 4, parameter int X_SIGNED = 1, parameter int X_NARROW = 0,
    parameter int W_BITS = 4, parameter int W_SIGNED = 1,
    parameter int ACC_BITS = 24, parameter int SATURATE = 0, parameter int TWO_STEP = 0,
    parameter int SCALES = 1, parameter int FOLDS = 1,
    parameter int LANES = OC % 8 == 0 ? 8 : OC,
    parameter int BIASED = 0, parameter int FOLDED = 0, parameter int DRAWN = 0, parameter int MASKED = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic clk, rst,
    input  logic p_write, input  logic [3:0] p_kind, input  logic [15:0] p_at, p_word,
    input  logic x_valid, output logic x_ready, input  logic [15:0] x_data,
    output logic [15:0] folded, word, t, output logic [X_BITS-1:0] code, output logic mask,  // beside each word taken
    output logic y_valid, input  logic y_ready,
    output logic signed [ACC_BITS-1:0] acc, output logic [15:0] acc_fp16, deq, y_data);
  localparam int CG = C / GROUPS, OCG = OC / GROUPS;  // channels of a group
  localparam int EXTENT = (KH - 1) * DILATION_H;
  localparam int SPAN = SPREAD != 0 ? EXTENT / STRIDE_H + 1 : EXTENT + 1;
  localparam int SLOTS = SPAN + (SPREAD != 0 ? 1 : STRIDE_H);  // one step ahead of the rows that windows read
  localparam int WEIGHTS = KH * KW * CG * OC, BLOCKS = OC / LANES;

  // Parameters
  logic [W_BITS-1:0] weight [0:WEIGHTS-1];
  logic [15:0] scale [0:OC-1], bias [0:OC-1], fold [0:C-1];
  logic kept [0:N*OH*OW*OC-1];
  logic [15:0] inv_scale, seed;
  always_ff @(posedge clk)
    if (p_write)
      case (p_kind)
        4'd0: weight[p_at] <= p_word[W_BITS-1:0];
        4'd1: scale[p_at] <= p_word;
        4'd2: bias[p_at] <= p_word;
        4'd3: inv_scale <= p_word;
        4'd4: seed <= p_word;
        4'd5: fold[p_at] <= p_word;
        default: kept[p_at] <= p_word[0];
      endcase

  // The writer: codes into the ring, a row after another
  logic [X_BITS-1:0] ring [0:SLOTS*W*C-1];
  integer rows, column, channel;  // whole rows of this image; the place of the next word
  integer oh, ow, block;      // the results that are computed: a pixel, and which LANES of its channels
  integer first, last;            // rows of the map that this row of results reads
  always_comb
    if (SPREAD != 0) begin
      first = (oh + TOP - EXTENT + STRIDE_H - 1) / STRIDE_H;
      last = (oh + TOP) / STRIDE_H;
    end else begin
      first = oh * STRIDE_H - TOP;
      last = first + EXTENT;
    end
  integer newest, room;
  assign newest = last > H - 1 ? H - 1 : last;
  assign room = SLOTS + 32'(`BUG(row_overwritten));
  assign x_ready = !rst && rows < H && rows - first < room;
  wire taken = x_valid && x_ready;
  wire row_taken = taken && channel == C - 1 && column == W - 1;
  wire image_done = oh == OH && rows == H;
  conv_head #(.FOLDED(FOLDED), .DRAWN(DRAWN), .BITS(X_BITS), .SIGNED(X_SIGNED), .NARROW(X_NARROW),
      .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) head (
      .clk, .rst, .load_seed(p_write && p_kind == 4'd4), .step(taken), .seed(p_word), .x(x_data),
      .fold(fold[FOLDS == 1 ? 0 : channel]), .inv_scale, .folded, .word, .t, .code, .mask);
  always_ff @(posedge clk) begin
    if (taken) ring[(rows % SLOTS) * W * C + column * C + channel] <= code;
    if (rst || image_done) begin
      rows <= 0; column <= 0; channel <= 0;
    end else if (taken) begin
      channel <= channel == C - 1 ? 0 : channel + 1;
      if (channel == C - 1) column <= column == W - 1 ? 0 : column + 1;
      if (row_taken) rows <= rows + 1;
    end
  end

  // The reader: kernel rows, kernel columns, channels of the group, one product a cycle in every lane
  typedef enum logic [1:0] {WAIT, SUM, SEND} state_e;
  state_e state;
  integer kh, kw, c;
  wire last_product = kh == KH - 1 && kw == KW - 1 && c == CG - 1;
  integer row, kernel_row, across, kernel_column;
  logic row_on_map, column_on_map;
  row_window #(.SIZE(H), .KERNEL(KH), .STRIDE(STRIDE_H), .DILATION(DILATION_H), .BEFORE(TOP), .SPREAD(SPREAD)) down (
      .place(oh), .tap(kh), .at(row), .kernel(kernel_row), .on_map(row_on_map));
  row_window #(.SIZE(W), .KERNEL(KW), .STRIDE(STRIDE_W), .DILATION(DILATION_W),
      .BEFORE(LEFT), .SPREAD(SPREAD)) right (
      .place(ow + 32'(`BUG(padding_shifted))), .tap(kw), .at(across), .kernel(kernel_column), .on_map(column_on_map));
  wire edge_read = `BUG(padding_edge) && across < 0;
  wire on_map = row_on_map && (column_on_map || edge_read);
  integer from;
  assign from = on_map ? ((row % SLOTS) * W + (edge_read ? 0 : across)) * C + c : 0;

  // A lane's weight lies at a distance of its own from where the lanes read.
  integer kernel_at, base;
  assign kernel_at = kernel_row * KW + kernel_column;
  assign base = SWAPPED != 0 ? kernel_at * OCG * C + c : (kernel_at * CG + c) * OC;
  logic signed [ACC_BITS-1:0] sums [0:LANES-1];
  integer first_channel;
  assign first_channel = BLOCKS == 1 ? 0 : block * LANES;
  wire enable = state == SUM && !(`BUG(last_product_lost) && last_product);
  wire starts = kh == 0 && kw == 0 && c == 0;
  for (genvar lane = 0; lane < LANES; lane++) begin : lanes
    integer target, group, at;
    assign target = `BUG(channels_reversed) ? OC - 1 - first_channel - lane : first_channel + lane;
    assign group = GROUPS == 1 ? 0 : (first_channel + lane) / OCG;
    assign at = base + (SWAPPED != 0 ? (GROUPS == 1 ? target : target % OCG) * C + group * CG : target);
    fxp_mac #(.X_BITS(X_BITS), .X_SIGNED(X_SIGNED), .W_BITS(W_BITS), .W_SIGNED(W_SIGNED), .ACC_BITS(ACC_BITS),
        .SATURATE(SATURATE)) mac (
        .clk, .rst, .enable, .first(starts), .x(on_map ? ring[from + group * CG] : X_BITS'(0)), .w(weight[at]),
        .acc(sums[lane]));
  end

  // Results, a channel a cycle
  integer slot, result, oc, own_scale;  // the lane; the number in the whole result; the channel; whose scale
  assign oc = first_channel + slot;
  assign own_scale = `BUG(scale_of_neighbour) ? (oc + OC - 1) % OC : oc;
  assign acc = sums[slot];
  assign y_valid = state == SEND;
  conv_tail #(.ACC_BITS(ACC_BITS), .TWO_STEP(TWO_STEP), .BIASED(BIASED), .MASKED(MASKED),
      .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) tail (
      .acc, .scale(scale[SCALES == 1 ? 0 : own_scale]), .bias(bias[oc]), .passes(MASKED == 0 || kept[result]),
      .acc_fp16, .deq, .y(y_data));

  wire sent = y_valid && y_ready;
  wire block_sent = sent && slot == LANES - 1;
  wire pixel_sent = block_sent && block == BLOCKS - 1;
  always_ff @(posedge clk)
    if (rst) begin
      oh <= 0; ow <= 0; block <= 0; slot <= 0; kh <= 0; kw <= 0; c <= 0; result <= 0;
      state <= WAIT;
    end else begin
      case (state)
        WAIT: if (oh < OH && rows > newest - 32'(`BUG(stale_row))) state <= SUM;
        SUM: if (last_product) state <= SEND;
        default: if (block_sent) state <= pixel_sent && ow == OW - 1 ? WAIT : SUM;
      endcase
      if (state == SUM) begin
        c <= c == CG - 1 ? 0 : c + 1;
        if (c == CG - 1) kw <= kw == KW - 1 ? 0 : kw + 1;
        if (c == CG - 1 && kw == KW - 1) kh <= kh == KH - 1 ? 0 : kh + 1;
      end
      if (sent) begin
        slot <= slot == LANES - 1 ? 0 : slot + 1;
        result <= result == N * OH * OW * OC - 1 ? 0 : result + 1;
      end
      if (block_sent) block <= block == BLOCKS - 1 ? 0 : block + 1;
      if (pixel_sent) ow <= ow == OW - 1 ? 0 : ow + 1;
      if (image_done) oh <= 0;
      else if (pixel_sent && ow == OW - 1) oh <= oh + 1;
    end
endmodule
