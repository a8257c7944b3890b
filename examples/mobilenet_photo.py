"""A frozen MobileNetV2 with a new output, as the tutorial "TensorFlow on Compute Engine VMs" has it, with Keras 3.

    railcar train photos/ --model examples/mobilenet_photo.py:build_model --set model.options="{weights: FILE}"
    python examples/mobilenet_photo.py PHOTO.jpg [WEIGHTS]            one photo, by plain Keras

The tutorial trains nothing: its ten numbers for one photo are those of an output that starts at random.
"""

import sys

import keras
from keras import layers


def build_model(input_shape=(224, 224, 3), n_classes=10, weights="imagenet"):
    known = "imagenet" if weights == "imagenet" else None
    backbone = keras.applications.MobileNetV2(include_top=False, weights=known, input_shape=input_shape)
    if known is None:
        backbone.load_weights(weights)
    backbone.trainable = False
    images = keras.Input(input_shape)
    hidden = backbone(keras.applications.mobilenet_v2.preprocess_input(images), training=False)
    output = layers.Dense(n_classes, activation="softmax", kernel_initializer=keras.initializers.GlorotUniform(seed=0))
    return keras.Model(images, output(layers.GlobalAveragePooling2D()(hidden)))


def main(photo, weights="imagenet"):
    image = keras.utils.img_to_array(keras.utils.load_img(photo, target_size=(224, 224)))
    model = build_model(weights=weights)
    print(model.predict(image[None], verbose=0)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
