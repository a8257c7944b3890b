"""TensorFlow's operations that only compute: the list by which a SavedModel that somebody else made is judged.

An operation is here if, whatever its attributes and inputs are, it makes tensors of tensors: it opens no file and no
connection, prints nothing, runs no Python, waits for nobody. Left out on purpose, though TensorFlow calls some of them
stateless: ReadFile, MatchingFiles, ImmutableConst (maps a file), GenerateVocabRemapping, LoadAndRemapMatrix,
InitializeTableFromTextFile, FixedUnigramCandidateSampler, DecodeProto and EncodeProto (all name files), PrintV2 and
DebugIdentity (write to URLs), PyFunc, readers, datasets, queues, summaries, checkpoints, Send and Recv, Rpc and
collective operations. Empty, which hands out memory as it is, is left out, too.
"""

from __future__ import annotations

_ARITHMETIC = """
Abs Acos Acosh Add AddN AddV2 Angle ApproximateEqual Asin Asinh Atan Atan2 Atanh BesselI0 BesselI0e BesselI1 BesselI1e
BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc BitwiseAnd BitwiseOr BitwiseXor Cast
Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp Dawsn Digamma Div DivNoNan
Equal Erf Erfc Erfinv Exp Expint Expm1 Floor FloorDiv FloorMod FresnelCos FresnelSin Greater GreaterEqual Igamma
Igammac Imag Inv Invert IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd LogicalNot
LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Range Real RealDiv
Reciprocal RightShift Rint Round Rsqrt Sigmoid Sign Sin Sinh Spence Sqrt Square SquaredDifference Sub Tan Tanh
TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
"""
_REDUCTIONS = """
All Any ArgMax ArgMin Bincount Bucketize DenseBincount EuclideanNorm HistogramFixedWidth L2Loss LowerBound Max Mean Min
Prod RaggedBincount SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum
SegmentSumV2 SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
SparseSegmentSum SparseSegmentSumWithNumSegments Sum TopK TopKV2 Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2
UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound InTopK InTopKV2 NthElement
"""
_SHAPES = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Concat ConcatOffset ConcatV2 Const DepthToSpace Diag
DiagPart DynamicPartition DynamicStitch EnsureShape ExpandDims Fill Gather GatherNd GatherV2 Identity IdentityN
InvertPermutation ListDiff MirrorPad NoOp OneHot OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch
Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient Rank Reshape Reverse ReverseSequence ReverseV2 Roll
ScatterNd ScatterNdNonAliasingAdd Select SelectV2 Shape ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND
SpaceToDepth Split SplitV Squeeze StopGradient StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin
TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose ConjugateTranspose Unpack UnravelIndex
Where ZerosLike GuaranteeConst ControlTrigger CheckNumerics CheckNumericsV2
"""
_MATRICES = """
BandedTriangularSolve BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky Einsum Eig Lu MatMul MatrixBandPart
MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3
MatrixExponential MatrixInverse MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixSolveLs
MatrixSquareRoot MatrixTriangularSolve LogMatrixDeterminant Qr SelfAdjointEig SelfAdjointEigV2 SparseMatMul
SparseTensorDenseMatMul Svd TridiagonalMatMul TridiagonalSolve FFT FFT2D FFT3D FFTND IFFT IFFT2D IFFT3D IFFTND IRFFT
IRFFT2D IRFFT3D IRFFTND RFFT RFFT2D RFFT3D RFFTND
"""
_NETWORKS = """
AvgPool AvgPool3D BiasAdd BiasAddV1 BatchNormWithGlobalNormalization BlockLSTM BlockLSTMV2 Conv Conv2D
Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput Conv3DBackpropInputV2 CudnnRNN CudnnRNNV2
CudnnRNNV3 DataFormatDimMap DataFormatVecPermute DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dilation2D Elu
FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FractionalAvgPool FractionalMaxPool
FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 GRUBlockCell LRN LSTMBlockCell LeakyRelu LogSoftmax MaxPool MaxPool3D
MaxPoolV2 MaxPoolWithArgmax QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
QuantizeAndDequantizeV4 Relu Relu6 Selu Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign
SparseSoftmaxCrossEntropyWithLogits CTCBeamSearchDecoder CTCGreedyDecoder
"""
_IMAGES = """
AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg
DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeRaw DecodePaddedRaw DecodeBase64 EncodeBase64
DrawBoundingBoxes DrawBoundingBoxesV2 ExtractGlimpse ExtractGlimpseV2 ExtractImagePatches ExtractJpegShape
ExtractVolumePatches HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppression
NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RGBToHSV
ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate AudioSpectrogram Mfcc
"""
_STRINGS = """
AsString ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin
StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast
StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
UnicodeScript UnicodeTranscode UnsortedSegmentJoin Fingerprint
"""
_SPARSE_AND_RAGGED = """
DenseToDenseSetOperation DenseToSparseSetOperation RaggedCross RaggedCountSparseOutput RaggedFillEmptyRows RaggedGather
RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant SetSize SparseAdd
SparseBincount SparseConcat SparseCountSparseOutput SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd
SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows SparseReduceMax SparseReduceSum SparseReorder SparseReshape
SparseSlice SparseSoftmax SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd SparseToDense
SparseToSparseSetOperation EditDistance DenseCountSparseOutput
"""
_FLOW = """
Case Enter Exit For If LoopCond Merge NextIteration PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf
StatelessWhile Switch While EmptyTensorList TensorListConcat TensorListConcatLists TensorListConcatV2
TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
TensorListPushBack TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TensorArrayV3
TensorArrayReadV3 TensorArrayWriteV3 TensorArrayGatherV3 TensorArrayScatterV3 TensorArrayConcatV3 TensorArraySplitV3
TensorArraySizeV3 TensorArrayCloseV3 Assert
"""
_RANDOM = """
Multinomial ParameterizedTruncatedNormal RandomCrop RandomGamma RandomIndexShuffle RandomPoisson RandomPoissonV2
RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt StatelessMultinomial
StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3
StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal RngReadAndSkip RngSkip
"""
_VARIABLES_AND_TABLES = """
AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead HashTableV2
InitializeTableV2 LookupTableExportV2 LookupTableFindV2 LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2
LookupTableSizeV2 MutableDenseHashTableV2 MutableHashTableV2 MutableHashTableOfTensorsV2 AnonymousHashTable
AnonymousMutableHashTable ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp VariableShape
"""

PURE = frozenset(
    (
        _ARITHMETIC + _REDUCTIONS + _SHAPES + _MATRICES + _NETWORKS + _IMAGES + _STRINGS + _SPARSE_AND_RAGGED
        + _FLOW + _RANDOM + _VARIABLES_AND_TABLES
    ).split()
)  # fmt: skip
SAVING = frozenset(("MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"))
"""What the two functions that save and restore variables have besides; railcar calls neither."""
