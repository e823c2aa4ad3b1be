/* Constants of the vector case relu6_forward; hex file names are relative to its folder. */
#ifndef BITROW_RELU6_FORWARD_H
#define BITROW_RELU6_FORWARD_H
#define RELU6_FORWARD_SCHEMA 1u
#define RELU6_FORWARD_SPEC_VERSION 1u
#define RELU6_FORWARD_CASE_NAME "relu6_forward"
#define RELU6_FORWARD_OPERATION "relu.forward"
#define RELU6_FORWARD_CONFIG_SIX 1u
#define RELU6_FORWARD_X_BITS 16u
#define RELU6_FORWARD_X_DEPTH 96u
#define RELU6_FORWARD_X_DIM_N 1u
#define RELU6_FORWARD_X_DIM_H 3u
#define RELU6_FORWARD_X_DIM_W 8u
#define RELU6_FORWARD_X_DIM_C 4u
#define RELU6_FORWARD_X_HEX "x.hex"
#define RELU6_FORWARD_Y_BITS 16u
#define RELU6_FORWARD_Y_DEPTH 96u
#define RELU6_FORWARD_Y_DIM_N 1u
#define RELU6_FORWARD_Y_DIM_H 3u
#define RELU6_FORWARD_Y_DIM_W 8u
#define RELU6_FORWARD_Y_DIM_C 4u
#define RELU6_FORWARD_Y_HEX "y.hex"
#endif
