/* Constants of the vector case concat; hex file names are relative to its folder. */
#ifndef BITROW_CONCAT_H
#define BITROW_CONCAT_H
#define CONCAT_SCHEMA 1u
#define CONCAT_SPEC_VERSION 1u
#define CONCAT_CASE_NAME "concat"
#define CONCAT_OPERATION "concat.forward"
#define CONCAT_X_BITS 16u
#define CONCAT_X_DEPTH 60u
#define CONCAT_X_DIM_N 1u
#define CONCAT_X_DIM_H 3u
#define CONCAT_X_DIM_W 4u
#define CONCAT_X_DIM_C_X 5u
#define CONCAT_X_HEX "x.hex"
#define CONCAT_OTHER_BITS 16u
#define CONCAT_OTHER_DEPTH 24u
#define CONCAT_OTHER_DIM_N 1u
#define CONCAT_OTHER_DIM_H 3u
#define CONCAT_OTHER_DIM_W 4u
#define CONCAT_OTHER_DIM_C_OTHER 2u
#define CONCAT_OTHER_HEX "other.hex"
#define CONCAT_Y_BITS 16u
#define CONCAT_Y_DEPTH 84u
#define CONCAT_Y_DIM_N 1u
#define CONCAT_Y_DIM_H 3u
#define CONCAT_Y_DIM_W 4u
#define CONCAT_Y_DIM_C 7u
#define CONCAT_Y_HEX "y.hex"
#endif
